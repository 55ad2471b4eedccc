// depthwise_conv2/direct on u8: blocks of channels, a row of outputs at a time.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "products/depthwise.h"
#include "products/geometry_u8.h"
#include "spi/estimate.h"
#include "ukernels/kinds/depthwise_u8.h"

namespace pw {
namespace {

// The micro-kernels made for this kernel and stride, or the general ones; those first that have the fewest blocks, all of them
// whole if that can be.
std::vector<std::string> micro_kernels(const Geometry& g, Act act) {
  const bool square = g.kernel_height == g.kernel_width && g.dilation_x == 1 && g.dilation_y == 1;
  std::vector<std::tuple<bool, bool, int64_t, std::string>> found;
  for (const auto& [name, body] : ukernels_of<DepthwiseU8>(PW_KIND_DEPTHWISE_U8, true, act)) {
    const bool general = body->kernel == 0, partial = body->block > g.inputs;
    if (!general && !(square && body->kernel == g.kernel_width && body->stride == g.stride_x)) continue;
    found.emplace_back(general, partial, partial ? body->block : divide_up(g.inputs, body->block), name);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (const auto& [general, partial, blocks, name] : found)
    if (general == std::get<0>(found.front())) names.push_back(name);
  return names;
}

class DepthwiseU8Kernel : public PieceKernel {
 public:
  DepthwiseU8Kernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p),
        add_(p.epilogue.add),
        out_(requantise(p, constants)),
        kernel_(variant_ukernel<DepthwiseU8>(PW_KIND_DEPTHWISE_U8, variant)),
        blocks_(divide_up(g_.inputs, kernel_.block)),
        pieces_(g_.images * g_.out_height, blocks_ * kPieceGrain, p.threads),
        rows_{round_up(g_.kernel_height * 8, 64), p.threads} {
    pack(constants[1].as<float>(), bias_of(p, constants), scale_in(constants, 0));
  }

  size_t workspace_bytes() const override { return rows_.total(); }
  size_t packed_bytes() const override { return packed_.bytes() + outside_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    auto** rows = rows_.own<const uint8_t*>(workspace, team);
    pieces_.each(team, blocks_ * kPieceGrain, [&](int64_t row, int64_t first, int64_t count) {
      output_row(x, y, residual, row, first / kPieceGrain, (first + count) / kPieceGrain, rows);
    });
  }

 private:
  static constexpr int64_t kPieceGrain = 16;  // RowPieces cuts between multiples of it: a block each

  // The two taps of each pair, in the order of the micro-kernel; -1 is none.
  std::vector<std::array<int64_t, 2>> pairs() const {
    std::vector<std::array<int64_t, 2>> all;
    const int64_t height = g_.kernel_height, width = g_.kernel_width;
    if (kernel_.kernel == 0) {
      for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; x += 2) all.push_back({y * width + x, x + 1 < width ? y * width + x + 1 : -1});
      return all;
    }
    for (int64_t y = 0; y + 1 < height; y += 2)
      for (int64_t x = 0; x < width; ++x) all.push_back({y * width + x, (y + 1) * width + x});
    const int64_t last = (height - 1) * width;
    for (int64_t x = 0; x < width; x += 2) all.push_back({x > 0 ? last + x - 1 : -1, last + x});
    return all;
  }

  void pack(const float* w, const float* bias, Scale in) {
    const int64_t block = kernel_.block, taps = g_.taps();
    const auto all = pairs();
    const int64_t words = (static_cast<int64_t>(all.size()) + 3) * block;
    packed_ = Buffer(static_cast<size_t>(blocks_ * words) * 4);
    std::memset(packed_.as<char>(), 0, packed_.bytes());
    std::vector<int16_t> q(static_cast<size_t>(taps));
    for (int64_t i = 0; i < blocks_; ++i) {
      auto* weights = packed_.as<int16_t>() + i * words * 2;
      int32_t* start = packed_.as<int32_t>() + (i + 1) * words - 3 * block;
      auto *scale = reinterpret_cast<float*>(start + block), *shift = scale + block;
      const int64_t from = std::max<int64_t>(0, std::min(i * block, g_.inputs - block));
      for (int64_t n = 0; n < std::min(block, g_.inputs); ++n) {
        const int64_t c = from + n, place = n % 8 / 4 * (block / 2) + n / 8 * 4 + n % 4;
        const float of_weights = weight_scale(taps, [&](int64_t t) { return w[c * taps + t]; });
        int32_t sum = 0;
        for (int64_t t = 0; t < taps; ++t) {
          q[t] = static_cast<int16_t>(quantised_weight(w[c * taps + t], of_weights));
          sum += q[t];
        }
        int16_t* to = weights + place * 2;
        for (const auto& pair : all) {
          for (int k = 0; k < 2; ++k) to[k] = pair[k] < 0 ? 0 : q[pair[k]];
          to += block * 2;
        }
        start[place] = -in.zero * sum;
        scale[place] = in.scale * of_weights;
        shift[place] = bias ? bias[c] : 0.0f;
      }
    }
    outside_ = Buffer(static_cast<size_t>(g_.width * g_.inputs));
    std::memset(outside_.as<char>(), in.zero, outside_.bytes());
  }

  // Blocks [first, last) of row `row` of the outputs, counted through the images.
  void output_row(const uint8_t* x, uint8_t* y, const uint8_t* residual, int64_t row, int64_t first, int64_t last,
                  const uint8_t** rows) const {
    const int64_t pixel = g_.inputs, to = row * g_.out_width * pixel;
    const uint8_t* image = x + row / g_.out_height * g_.in_pixels() * pixel;
    for (int64_t k = 0; k < g_.kernel_height; ++k) {
      const int64_t at = row % g_.out_height * g_.stride_y - g_.pad_top + k * g_.dilation_y;
      rows[k] = at >= 0 && at < g_.height ? image + at * g_.width * pixel : outside_.as<uint8_t>();
    }
    DepthwiseU8Args args{};
    args.rows = rows;
    args.outside = outside_.as<uint8_t>();
    args.width = g_.width;
    args.first = -g_.pad_left;
    args.channels = args.pixel = pixel;
    args.first_block = first;
    args.last_block = last;
    args.packed = packed_.as<int32_t>();
    args.y = y + to;
    args.residual = residual ? residual + to : nullptr;
    args.columns = g_.out_width;
    args.kernel_height = g_.kernel_height;
    args.kernel_width = g_.kernel_width;
    args.stride = g_.stride_x;
    args.dilation = g_.dilation_x;
    args.out = out_;
    kernel_.run(&args);
  }

  Geometry g_;
  bool add_;
  RequantU8 out_;
  const DepthwiseU8& kernel_;
  int64_t blocks_;
  RowPieces pieces_;
  ThreadAreas rows_;
  Buffer packed_, outside_;
};

class DepthwiseU8Routine : public Routine, public Estimating {
 public:
  DepthwiseU8Routine()
      : Routine({.id = "depthwise_conv2/direct:u8:nhwc:cpu", .version = 2, .accuracy = Accuracy::quantised,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override { return accepts_convolution_u8(p, PW_KIND_DEPTHWISE_U8); }
  std::vector<std::string> variants(const Problem& p) const override { return micro_kernels(Geometry(p), epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const DepthwiseU8& kernel = variant_ukernel<DepthwiseU8>(PW_KIND_DEPTHWISE_U8, variant);
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    const double blocks = number(divide_up(g.inputs, kernel.block)), lines = number(g.images * g.out_height);
    const double outputs = lines * number(g.out_width) * blocks * number(kernel.block);
    Estimate e;
    e.unit = DType::i8;
    e.add(2 * outputs * number(g.taps() + g.taps() % 2), kernel.kernel ? kShare : kAnyShare);
    e.work += outputs * kRequantised + lines * blocks * kCall;
    e.constants = number(g.inputs) * (2 * number(g.taps()) + 12);
    e.pieces = lines * blocks;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseU8Kernel>(p, variant, c);
  }

 private:
  // Of the peak of bytes, with a micro-kernel of this size and with any; operations that an output takes beside, and a row of a
  // block. Found with bench/estimates.py.
  static constexpr double kShare = 0.43, kAnyShare = 0.2, kRequantised = 35, kCall = 4000;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DepthwiseU8Routine>(); }
}  // namespace PW_COLLECT
}  // namespace pw
