// conv2/direct on u8: every output pixel's inputs become one row of words, which all output channels then share; with few
// channels, and where bytes are multiplied, those under a row of the kernel are read where they lie.
#include <cstring>

#include "products/estimates_u8.h"
#include "products/geometry_u8.h"
#include "products/matrix_u8.h"

namespace pw {
namespace {

// A row is gathered run by run: the pixels under one row of the kernel are contiguous with channels last, except at the
// image's border, with dilation and with groups, where each pixel is a run. Pixels outside hold the zero point.
class DirectU8Kernel : public PieceKernel {
 public:
  DirectU8Kernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads),
        product_(gemm_u8_kernel(variant), g_.images * g_.out_pixels(), g_.group_outputs(), g_.taps(), g_.group_inputs(),
                 g_.outputs, requantise(p, constants), false, p.threads),
        merges_(product_.staged && g_.groups == 1 && (g_.dilation_x == 1 || g_.kernel_width == 1)) {
    const Scale in = scale_in(constants, 0);
    for (int64_t group = 0; group < g_.groups; ++group)
      weights_.emplace_back(constants[1], bias_of(p, constants), group * g_.group_outputs(), g_.group_outputs(),
                            g_.group_inputs(), g_.taps(), product_, in);
    float most = 0;
    for (const WeightsU8& w : weights_) most = std::max(most, w.most());
    product_.out.saturates = saturates(product_.out, most);
    outside_ = Buffer(static_cast<size_t>(g_.group_inputs()));
    std::memset(outside_.as<char>(), in.zero, outside_.bytes());
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()); }
  size_t packed_bytes() const override {
    size_t bytes = outside_.bytes();
    for (const WeightsU8& w : weights_) bytes += w.bytes();
    return bytes;
  }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const int64_t blocks = product_.blocking.count();
    const auto piece = Team::own_first(g_.groups * blocks, index, count);
    if (!piece) return {};
    return weights_[static_cast<size_t>(*piece / blocks)].from(product_.blocking.first_panel(*piece % blocks));
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    char* area_of_thread = static_cast<char*>(workspace) + team.index * area();
    auto** runs = reinterpret_cast<const uint8_t**>(area_of_thread + product_.area());
    const int64_t blocks = product_.blocking.count();
    team.each(g_.groups * blocks, 1, [&](int64_t index, int64_t) {
      const int64_t group = index / blocks, at = group * g_.group_outputs();
      const uint8_t* source = x + group * g_.group_inputs();
      walk_block(product_, weights_[static_cast<size_t>(group)], index % blocks, y + at,
                 residual ? residual + at : nullptr, area_of_thread,
                 [&](int64_t row, int64_t rows, const void** to, char* scratch) {
                   fill(source, row, rows, to, scratch, runs);
                 });
    });
  }

 private:
  // Bytes of scratch per thread: what the product needs, and pointers to the runs of one row.
  int64_t area() const { return product_.area() + round_up(g_.taps() * 8, 64); }

  void fill(const uint8_t* x, int64_t row, int64_t rows, const void** to, char* scratch, const uint8_t** runs) const {
    const int64_t tile_rows = product_.kernel->rows, pixels = g_.out_pixels(), depth = product_.depth;
    int64_t image = row / pixels, oy = row % pixels / g_.out_width, ox = row % pixels % g_.out_width;
    for (int64_t i = 0; i < rows; ++i) {
      const uint8_t* base = x + image * g_.inputs * g_.in_pixels();
      const int64_t y0 = oy * g_.stride_y - g_.pad_top, x0 = ox * g_.stride_x - g_.pad_left;
      if (product_.staged) {
        char* staged = scratch + i * product_.row_bytes();
        if (merges_ && inside(y0, x0)) {
          for (int64_t ky = 0; ky < g_.kernel_height; ++ky) runs[ky] = pixel(base, y0 + ky * g_.dilation_y, x0);
          product_.kernel->stage(runs, g_.kernel_height, g_.kernel_width * depth, product_.words, staged);
        } else {
          point(base, y0, x0, runs, 1);
          product_.kernel->stage(runs, product_.taps, depth, product_.words, staged);
        }
        to[i] = staged;
      } else {
        point(base, y0, x0, reinterpret_cast<const uint8_t**>(to) + i, tile_rows);
      }
      if (++ox == g_.out_width) {
        ox = 0;
        if (++oy == g_.out_height) oy = 0, ++image;
      }
    }
    for (int64_t i = rows; i < tile_rows; ++i)
      for (int64_t t = 0; t < (product_.staged ? 1 : product_.taps); ++t)
        to[t * tile_rows + i] = to[t * tile_rows + rows - 1];
  }

  bool inside(int64_t y0, int64_t x0) const {
    return y0 >= 0 && x0 >= 0 && y0 + (g_.kernel_height - 1) * g_.dilation_y < g_.height &&
           x0 + (g_.kernel_width - 1) * g_.dilation_x < g_.width;
  }
  const uint8_t* pixel(const uint8_t* image, int64_t iy, int64_t ix) const {
    return image + (iy * g_.width + ix) * g_.inputs;
  }
  // Pointers to all taps, `step` apart.
  void point(const uint8_t* image, int64_t y0, int64_t x0, const uint8_t** to, int64_t step) const {
    for (int64_t ky = 0; ky < g_.kernel_height; ++ky) {
      const int64_t iy = y0 + ky * g_.dilation_y;
      for (int64_t kx = 0; kx < g_.kernel_width; ++kx, to += step) {
        const int64_t ix = x0 + kx * g_.dilation_x;
        const bool within = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        *to = within ? pixel(image, iy, ix) : outside_.as<uint8_t>();
      }
    }
  }

  Geometry g_;
  bool add_;
  int64_t threads_;
  ProductU8 product_;
  bool merges_;
  std::vector<WeightsU8> weights_;
  Buffer outside_;
};

// Few channels, as in the first layer: the pixels under one row of the kernel are a run of bytes, read in place as words that
// reach beyond it, where the weights are zero. At the image's border, and at the ends of the tensor, runs are gathered.
class KernelRowsU8Kernel : public PieceKernel {
 public:
  static constexpr const char* kRows = "/rows";

  KernelRowsU8Kernel(const Problem& p, const GemmU8& kernel, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads), runs_{g_.kernel_width * g_.inputs},
        product_(kernel, g_.images * g_.out_pixels(), g_.outputs, g_.kernel_height, runs_.stride(), g_.outputs,
                 requantise(p, constants), false, p.threads),
        weights_(constants[1], bias_of(p, constants), 0, g_.outputs, g_.inputs, g_.taps(), product_,
                 scale_in(constants, 0), runs_),
        zero_(scale_in(constants, 0).zero) {
    product_.out.saturates = saturates(product_.out, weights_.most());
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()); }
  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    return weights_.from(product_.blocking.first_panel(index, count));
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const Bytes x{static_cast<const uint8_t*>(in[0]), g_.images * g_.inputs * g_.in_pixels()};
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    char* area_of_thread = static_cast<char*>(workspace) + team.index * area();
    auto* gathered = reinterpret_cast<uint8_t*>(area_of_thread + product_.area());
    team.each(product_.blocking.count(), 1, [&](int64_t index, int64_t) {
      walk_block(product_, weights_, index, static_cast<uint8_t*>(out[0]), residual, area_of_thread,
                 [&, before = InsideTile{}](int64_t row, int64_t rows, const void** to, char*) mutable {
                   if (!advance(x, before, row, rows, to) && !fill_inside(x, before, row, rows, to))
                     fill(x, row, rows, to, gathered);
                 });
    });
  }

 private:
  struct Bytes {
    const uint8_t* begin;
    int64_t count;
    bool hold(int64_t from, int64_t n) const { return from >= 0 && from + n <= count; }
  };

  // Bytes of scratch per thread: what the product needs, and the runs of one tile.
  int64_t area() const {
    return product_.area() + round_up(product_.kernel->rows * g_.kernel_height * runs_.stride(), 64);
  }
  // Where the words of a run begin, from the start of the tensor.
  int64_t offset(int64_t image, int64_t iy, int64_t ix, int64_t ky) const {
    return ((image * g_.height + iy) * g_.width + ix) * g_.inputs - runs_.moved(ky);
  }

  // From the pointers to one tile to those of the next. False where it is not one whose pixels all lie within the image.
  bool advance(const Bytes& x, InsideTile& before, int64_t row, int64_t rows, const void** to) const {
    const int64_t tile_rows = product_.kernel->rows, bytes = rows * g_.stride_x * g_.inputs;
    if (!before.is_before(row, rows, g_)) return false;
    const auto* last = static_cast<const uint8_t*>(to[(g_.kernel_height - 1) * tile_rows + rows - 1]);
    if (!x.hold(last + bytes - x.begin, runs_.stride())) return false;
    for (int64_t i = 0; i < g_.kernel_height * tile_rows; ++i) to[i] = static_cast<const uint8_t*>(to[i]) + bytes;
    before = {row, rows, before.ox + rows};
    return true;
  }

  // Outputs of one row whose pixels all lie within the image are as far from each other as the stride says. False for others.
  bool fill_inside(const Bytes& x, InsideTile& tile, int64_t row, int64_t rows, const void** to) const {
    tile = {};
    const int64_t image = row / g_.out_pixels(), pixel = row - image * g_.out_pixels();
    const int64_t oy = pixel / g_.out_width, ox = pixel - oy * g_.out_width;
    const int64_t y0 = oy * g_.stride_y - g_.pad_top, x0 = ox * g_.stride_x - g_.pad_left;
    const int64_t last = x0 + (rows - 1) * g_.stride_x;
    if (ox + rows > g_.out_width || x0 < 0 || last + g_.kernel_width > g_.width || y0 < 0 ||
        y0 + (g_.kernel_height - 1) * g_.dilation_y >= g_.height)
      return false;
    const int64_t bottom = g_.kernel_height - 1;
    if (!x.hold(offset(image, y0, x0, 0) - 1, 1) ||
        !x.hold(offset(image, y0 + bottom * g_.dilation_y, last, bottom), runs_.stride()))
      return false;
    const int64_t step = g_.stride_x * g_.inputs;
    for (int64_t ky = 0; ky <= bottom; ++ky) {
      const uint8_t* from = x.begin + offset(image, y0 + ky * g_.dilation_y, x0, ky);
      for (int64_t i = 0; i < rows; ++i, from += step) *to++ = from;
      for (int64_t i = rows; i < product_.kernel->rows; ++i) *to++ = from - step;
    }
    tile = {row, rows, ox};
    return true;
  }

  void fill(const Bytes& x, int64_t row, int64_t rows, const void** to, uint8_t* gathered) const {
    const int64_t tile_rows = product_.kernel->rows, stride = runs_.stride();
    for (int64_t i = 0; i < tile_rows; ++i) {
      const int64_t at = row + std::min(i, rows - 1), image = at / g_.out_pixels();
      const int64_t y0 = at % g_.out_pixels() / g_.out_width * g_.stride_y - g_.pad_top;
      const int64_t x0 = at % g_.out_width * g_.stride_x - g_.pad_left;
      for (int64_t ky = 0; ky < g_.kernel_height; ++ky, gathered += stride) {
        const int64_t iy = y0 + ky * g_.dilation_y;
        const bool row_inside = iy >= 0 && iy < g_.height;
        if (row_inside && x0 >= 0 && x0 + g_.kernel_width <= g_.width && x.hold(offset(image, iy, x0, ky), stride)) {
          to[ky * tile_rows + i] = x.begin + offset(image, iy, x0, ky);
          continue;
        }
        to[ky * tile_rows + i] = gathered;
        std::memset(gathered, zero_, static_cast<size_t>(stride));
        const int64_t left = std::max<int64_t>(0, -x0), right = std::min(g_.kernel_width, g_.width - x0);
        if (row_inside && left < right)
          std::memcpy(gathered + runs_.moved(ky) + left * g_.inputs,
                      x.begin + offset(image, iy, x0 + left, ky) + runs_.moved(ky),
                      static_cast<size_t>((right - left) * g_.inputs));
      }
    }
  }

  Geometry g_;
  bool add_;
  int64_t threads_;
  Runs runs_;
  ProductU8 product_;
  WeightsU8 weights_;
  int32_t zero_;
};

class DirectU8 : public Routine, public Estimating {
 public:
  DirectU8()
      : Routine({.id = "conv2/direct:u8:nhwc:cpu", .version = 3, .accuracy = Accuracy::quantised,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override { return accepts_convolution_u8(p, PW_KIND_GEMM_U8); }
  std::vector<std::string> variants(const Problem& p) const override {
    const std::vector<std::string> plain = gemm_u8_variants(epilogue_act(p));
    std::vector<std::string> names;
    const Geometry g(p);
    if (g.few_channels_in_runs() && g.inputs % 4 != 0)
      for (const auto& name : plain)
        if (const GemmU8& kernel = gemm_u8_kernel(name); kernel.group == 4 && kernel.most_step == 1)
          names.push_back(name + KernelRowsU8Kernel::kRows);  // first: the default takes it
    names.insert(names.end(), plain.begin(), plain.end());
    return names;
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    ProductU8Sizes sizes{g.images * g.out_pixels(), g.group_inputs(), g.group_outputs(), g.taps(), g.groups, false, false,
                         end_of(epilogue_act(p))};
    if (variant.ends_with(KernelRowsU8Kernel::kRows)) {
      sizes.depth = Runs{g.kernel_width * g.inputs}.stride();
      sizes.taps = g.kernel_height;
      sizes.runs = true;
    }
    return product_u8_estimate(sizes, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    if (variant.ends_with(KernelRowsU8Kernel::kRows))
      return std::make_unique<KernelRowsU8Kernel>(p, gemm_u8_kernel(variant.substr(0, variant.find('/'))), c);
    return std::make_unique<DirectU8Kernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DirectU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
