// Convolutions of planes: vectors lie along the lines of a plane, and an output is a filter over lines of the input. For few
// channels, which fill no tile of a product.
#include <algorithm>
#include <cstring>

#include "products/estimates.h"
#include "products/space.h"
#include "spi/estimate.h"
#include "ukernels/kinds/taps_f32.h"

namespace pw {
namespace {

// The geometry where pixels are of one line if each output sees one pixel at its own place.
SpaceGeometry lying(SpaceGeometry g) {
  bool alone = g.taps() == 1;
  for (int a = 0; a < kSpace; ++a) alone = alone && g.stride[a] == 1 && g.pad[a] == 0 && g.in[a] == g.out[a];
  if (!alone) return g;
  g.in[2] = g.out[2] = g.in_pixels();
  for (int a = 0; a < 2; ++a) g.in[a] = g.out[a] = 1;
  return g;
}

// A piece: `rows` lines of `columns` outputs in one plane of each output channel. Under it lies a copy of the lines that its
// taps see, by the phases of the strides, so that whatever they are a tap sees one run for all lines.
struct PlanarPiece {
  int64_t rows, columns, row_pieces, column_pieces;
  int64_t lines, pitch;  // of a phase: lines, and floats from one to the next
  int64_t phases;        // of lines x columns

  PlanarPiece(const SpaceGeometry& g, int64_t threads) {
    const int64_t fit = static_cast<int64_t>(cpu().l2) / 2 / 4, depth = g.group_inputs() * g.kernel[0];
    const int64_t reach_y = reach(g, 1), reach_x = reach(g, 2), others = g.images * g.out[0];
    phases = g.stride[1] * g.stride[2];
    columns = g.out[2];
    const int64_t line = depth * phases * (reach_y + 1);
    if (columns > fit / line) columns = std::max<int64_t>(4 * kTapsBlock, fit / line / kTapsBlock * kTapsBlock);
    if (others * g.out[1] < 4 * threads)
      columns = std::min(columns, round_up(divide_up(g.out[2], divide_up(4 * threads, others * g.out[1])), kTapsBlock));
    columns = std::min(columns, g.out[2]);
    column_pieces = divide_up(g.out[2], columns);
    pitch = columns + reach_x;
    // In L1, which is read again for every few output channels, but with most lines in one piece alone; else in L2.
    const int64_t of_line = depth * phases * pitch, near = static_cast<int64_t>(cpu().l1d) * 3 / 4 / 4;
    rows = std::max(near / of_line - reach_y, std::min(fit / of_line - reach_y, (g.group_outputs() > 2 * kTapsSums ? 1 : 4) * reach_y));
    rows = std::clamp<int64_t>(rows, 1, g.out[1]);
    if (others * column_pieces * divide_up(g.out[1], rows) < 4 * threads)
      rows = std::min(rows, divide_up(g.out[1], divide_up(4 * threads, others * column_pieces)));
    row_pieces = divide_up(g.out[1], rows);
    lines = rows + reach_y;
  }
  // Lines or columns of a phase that taps see beside those of the outputs.
  static int64_t reach(const SpaceGeometry& g, int a) { return (g.kernel[a] - 1) * g.dilation[a] / g.stride[a]; }
  int64_t phase() const { return lines * pitch + kTapsBlock; }
  int64_t count(const SpaceGeometry& g) const { return g.images * g.out[0] * row_pieces * column_pieces; }
};

class PlanarKernel : public PieceKernel {
 public:
  PlanarKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(lying(SpaceGeometry(p))), act_(*epilogue_activation(p)),
        taps_(variant_ukernel<TapsF32>(PW_KIND_TAPS_F32, variant)), piece_(g_, p.threads) {
    const auto floats = static_cast<size_t>(g_.outputs * depth());
    weights_ = Buffer(floats * 4);
    std::memcpy(weights_.as<float>(), constants[1].as<float>(), floats * 4);
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, 1);
    in_place_ = g_.taps() == 1 && piece_.phases == 1 && g_.in[2] == g_.out[2] && g_.out[0] == 1 && g_.out[1] == 1 &&
                g_.pad[0] == 0 && g_.pad[1] == 0 && g_.pad[2] == 0 && g_.in[0] == 1 && g_.in[1] == 1;
    copy_at_ = round_up(depth() * 8, 64);
    line_at_ = copy_at_ + round_up(g_.group_inputs() * g_.kernel[0] * piece_.phases * piece_.phase() * 4, 64);
    sum_ = piece_.rows * piece_.pitch + kTapsBlock;
    areas_ = {line_at_ + round_up(std::min(kTapsSums, g_.group_outputs()) * sum_ * 4, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_.bytes() + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    char* own = areas_.own<char>(workspace, team);
    team.each(piece_.count(g_), 1, [&](int64_t index, int64_t) {
      for (int64_t group = 0; group < g_.groups; ++group)
        make(static_cast<const float*>(in[0]), static_cast<float*>(out[0]), index, group, own);
    });
  }

 private:
  int64_t depth() const { return g_.group_inputs() * g_.taps(); }

  void make(const float* x, float* y, int64_t index, int64_t group, char* own) const {
    const int64_t q0 = index % piece_.column_pieces * piece_.columns, q1 = std::min(g_.out[2], q0 + piece_.columns);
    index /= piece_.column_pieces;
    const int64_t p0 = index % piece_.row_pieces * piece_.rows, p1 = std::min(g_.out[1], p0 + piece_.rows);
    index /= piece_.row_pieces;
    const int64_t plane = index % g_.out[0], image = index / g_.out[0];
    auto** sources = reinterpret_cast<const float**>(own);
    auto* copy = reinterpret_cast<float*>(own + copy_at_);
    auto* lines = reinterpret_cast<float*>(own + line_at_);
    x += (image * g_.inputs + group * g_.group_inputs()) * g_.in_pixels();
    // Whole blocks are neither read nor written behind their ends.
    const bool in_place = in_place_ && (q1 - q0) % kTapsBlock == 0;
    if (in_place)
      for (int64_t c = 0; c < g_.group_inputs(); ++c) sources[c] = x + c * g_.in_pixels() + q0;
    else
      bring(x, plane, p0, p1, q0, q1, copy, sources);
    const int64_t outputs = g_.group_outputs(), n = (p1 - p0 - 1) * piece_.pitch + q1 - q0;
    for (int64_t o = 0; o < outputs; o += kTapsSums) {
      const int64_t channel = group * outputs + o;
      float* to = y + (((image * g_.outputs + channel) * g_.out[0] + plane) * g_.out[1] + p0) * g_.out[2] + q0;
      const TapsArgs args{sources, weights_.as<float>() + channel * depth(), in_place ? to : lines, depth(), n, 0, act_};
      const TapsSums sums{std::min(kTapsSums, outputs - o), depth(), in_place ? g_.out_pixels() : sum_,
                          bias_.as<float>() + channel};
      taps_.run_sums(&args, &sums);
      for (int64_t i = 0; i < sums.sums && !in_place; ++i, to += g_.out_pixels())
        for (int64_t j = 0; j < p1 - p0; ++j)
          std::memcpy(to + j * g_.out[2], lines + i * sum_ + j * piece_.pitch, static_cast<size_t>(q1 - q0) * 4);
    }
  }

  // Copies what the taps of a piece see, and points to where each begins.
  void bring(const float* x, int64_t plane, int64_t p0, int64_t p1, int64_t q0, int64_t q1, float* copy,
             const float** sources) const {
    const int64_t first_line = p0 * g_.stride[1] - g_.pad[1], first_column = q0 * g_.stride[2] - g_.pad[2];
    const int64_t last_line = (p1 - p0 - 1) * g_.stride[1] + (g_.kernel[1] - 1) * g_.dilation[1];
    const int64_t columns = (q1 - q0 - 1) * g_.stride[2] + (g_.kernel[2] - 1) * g_.dilation[2] + 1;
    for (int64_t c = 0; c < g_.group_inputs(); ++c, x += g_.in_pixels())
      for (int64_t kz = 0; kz < g_.kernel[0]; ++kz, copy += piece_.phases * piece_.phase()) {
        const int64_t iz = plane * g_.stride[0] - g_.pad[0] + kz * g_.dilation[0];
        const float* from = iz >= 0 && iz < g_.in[0] ? x + iz * g_.in[1] * g_.in[2] : nullptr;
        for (int64_t i = 0; i <= last_line; ++i) {
          const int64_t iy = first_line + i;
          float* to = copy + i % g_.stride[1] * g_.stride[2] * piece_.phase() + i / g_.stride[1] * piece_.pitch;
          line(from && iy >= 0 && iy < g_.in[1] ? from + iy * g_.in[2] : nullptr, first_column, columns, to);
        }
        for (int64_t ky = 0; ky < g_.kernel[1]; ++ky)
          for (int64_t kx = 0; kx < g_.kernel[2]; ++kx) {
            const int64_t i = ky * g_.dilation[1], j = kx * g_.dilation[2];
            *sources++ = copy + (i % g_.stride[1] * g_.stride[2] + j % g_.stride[2]) * piece_.phase() +
                         i / g_.stride[1] * piece_.pitch + j / g_.stride[2];
          }
      }
  }

  // Elements first, first + 1, ... of a line of the input, zeros outside of it, to the phases of the stride.
  void line(const float* from, int64_t first, int64_t count, float* to) const {
    const int64_t stride = g_.stride[2];
    const int64_t begin = from ? std::clamp<int64_t>(-first, 0, count) : count;
    const int64_t end = std::clamp<int64_t>(g_.in[2] - first, begin, count);
    if (stride == 1) {
      std::fill(to, to + begin, 0.0f);
      if (end > begin) std::memcpy(to + begin, from + first + begin, static_cast<size_t>(end - begin) * 4);
      std::fill(to + end, to + count, 0.0f);
      return;
    }
    for (int64_t phase = 0; phase < stride; ++phase, to += piece_.phase()) {
      const auto until = [&](int64_t place) { return std::max<int64_t>(0, divide_up(place - phase, stride)); };
      const int64_t some = until(begin), most = std::max(some, until(end)), all = std::max(most, until(count));
      std::fill(to, to + some, 0.0f);
      for (int64_t k = some; k < most; ++k) to[k] = from[first + phase + k * stride];
      std::fill(to + most, to + all, 0.0f);
    }
  }

  SpaceGeometry g_;
  ActArgs act_;
  const TapsF32& taps_;
  PlanarPiece piece_;
  bool in_place_ = false;
  int64_t copy_at_ = 0, line_at_ = 0, sum_ = 0;  // sum_: floats of one sum over a piece
  Buffer weights_, bias_;
  ThreadAreas areas_;
};

class Planar : public Routine, public Estimating {
 public:
  explicit Planar(const char* id) : Routine({.id = id, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_weights(p, PW_KIND_TAPS_F32); !v) return v;
    if (Verdict v = accepts_space(p, PW_KIND_TAPS_F32); !v) return v;
    if (p.epilogue.add) return Verdict::no("it adds no residual");
    const SpaceGeometry g(p);
    for (int a = 0; a < kSpace; ++a)
      if ((g.kernel[a] - 1) * g.dilation[a] > 2 * g.in[a] + g.kernel[a] || g.stride[a] > g.in[a] + g.kernel[a])
        return Verdict::no("taps or outputs lie farther apart than the image is large");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    return ukernel_names(PW_KIND_TAPS_F32, epilogue_act(p));
  }
  Ports ports(const Problem& p) const override {
    Ports ports = uniform_ports(p, plain_layout(p.out[0].shape.size()), DType::f32);
    const SpaceGeometry g(p);
    ports.order = g.group_inputs() * g.group_outputs() <= 4 ? 0 : 2;
    return ports;
  }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const SpaceGeometry g = lying(SpaceGeometry(p));
    const PlanarPiece piece(g, 2);
    const int64_t of_piece = round_up((piece.rows - 1) * piece.pitch + piece.columns, kTapsBlock / 2);
    const auto runs = static_cast<double>(piece.count(g) * of_piece);
    const auto depth = static_cast<double>(g.group_inputs() * g.taps()), outputs = static_cast<double>(g.outputs);
    const double copied = static_cast<double>(piece.count(g) * g.inputs * g.kernel[0] * piece.phases * piece.lines * piece.pitch);
    Estimate e;
    e.add(2 * runs * outputs * depth, kShare);
    e.work += runs * outputs * (kOutput + activation_work(p)) + copied * (g.stride[2] > 1 ? kPicked : kCopied);
    e.pieces = static_cast<double>(piece.count(g));
    e.constants = outputs * depth * 4;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<PlanarKernel>(p, variant, c);
  }

 private:
  // Of the peak, several sums at a time; operations that an output, and an element of the copy, take beside.
  static constexpr double kShare = 0.55, kOutput = 24, kCopied = 8, kPicked = 20;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Planar>("conv2/planar:f32:nchw:cpu");
  c.add<Planar>("conv3/planar:f32:plain:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
