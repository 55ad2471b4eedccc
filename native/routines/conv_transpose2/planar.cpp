// conv_transpose2/planar: vectors lie along the rows of planes; each phase of a line of outputs is a filter over lines of the
// input, and the phases are interleaved behind it. For few channels, whose products fill no tile.
#include <cstring>

#include "routines/conv_transpose2/lines.h"
#include "routines/conv_transpose2/tiles.h"
#include "spi/estimate.h"
#include "ukernels/kinds/taps_f32.h"

namespace pw {
namespace {

constexpr int64_t kWidestStride = 1024;  // lines of the workspace

class PlanarKernel : public PieceKernel {
 public:
  PlanarKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(lying(TransposedGeometry(p))), act_(*epilogue_activation(p)),
        taps_(variant_ukernel<TapsF32>(PW_KIND_TAPS_F32, variant)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), rows_(g_.rows()), columns_(g_.columns()),
        taps_y_(g_.rows().taps()), taps_x_(g_.columns().taps()) {
    const auto floats = static_cast<size_t>(g_.inputs * (g_.outputs / g_.groups) * g_.kernel_height * g_.kernel_width);
    weights_ = Buffer(floats * 4);
    std::memcpy(weights_.as<float>(), constants[1].as<float>(), floats * 4);
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, 1);
    cut(p.threads);
    place(p.threads);
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_.bytes() + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    char* own = areas_.own<char>(workspace, team);
    team.each(g_.images * g_.outputs * row_pieces_ * column_pieces_, 1,
              [&](int64_t index, int64_t) { piece(x, y, index, own); });
  }

 private:
  int64_t depth() const { return g_.inputs / g_.groups; }
  int64_t pitch() const { return n_ + columns_.reach; }  // of a line of the input in the workspace
  int64_t plane() const { return (m_ + rows_.reach) * pitch() + kTapsBlock; }
  int64_t phase() const { return m_ * pitch() + kTapsBlock; }

  // Positions of a piece, m_ x n_: its input and one row of phases stay in a quarter of L2, and threads get several.
  void cut(int64_t threads) {
    const int64_t fit = static_cast<int64_t>(cpu().l2) / 4 / 4, planes = g_.images * g_.outputs;
    n_ = std::min(columns_.count(), std::max(kTapsBlock, fit / ((depth() * (rows_.reach + 1)) + 2 * g_.stride_x) - columns_.reach));
    if (planes * rows_.count() < 4 * threads)
      n_ = std::min(n_, std::max(kTapsBlock, divide_up(columns_.count() * planes * rows_.count(), 4 * threads)));
    column_pieces_ = divide_up(columns_.count(), n_);
    n_ = divide_up(columns_.count(), column_pieces_);
    const int64_t lines = fit / pitch() - depth() * rows_.reach;
    m_ = std::clamp<int64_t>(lines / (depth() + g_.stride_x), 1, rows_.count());
    if (planes * column_pieces_ < 4 * threads)
      m_ = std::min(m_, divide_up(rows_.count(), divide_up(4 * threads, planes * column_pieces_)));
    row_pieces_ = divide_up(rows_.count(), m_);
    m_ = divide_up(rows_.count(), row_pieces_);
  }

  void place(int64_t threads) {
    int64_t at = 0;
    auto take = [&](int64_t bytes) {
      const int64_t here = at;
      at += round_up(bytes, 64);
      return here;
    };
    const int64_t most = depth() * g_.kernel_height * g_.kernel_width;
    inputs_at_ = take(depth() * plane() * 4);
    phases_at_ = take(g_.stride_x * phase() * 4);
    line_at_ = take(g_.stride_x * n_ * 4);
    sources_at_ = take(most * 8);
    weights_at_ = take(most * 4);
    areas_ = {at, threads};
  }

  // Positions [p0, p1) x [q0, q1) of one plane of outputs.
  void piece(const float* x, float* y, int64_t index, char* own) const {
    const int64_t q0 = columns_.first + index % column_pieces_ * n_, q1 = std::min(columns_.last, q0 + n_);
    const int64_t p0 = rows_.first + index / column_pieces_ % row_pieces_ * m_, p1 = std::min(rows_.last, p0 + m_);
    const int64_t output = index / column_pieces_ / row_pieces_, image = output / g_.outputs;
    const int64_t channel = output % g_.outputs, outputs = g_.outputs / g_.groups, group = channel / outputs;
    auto* inputs = reinterpret_cast<float*>(own + inputs_at_);
    auto* phases = reinterpret_cast<float*>(own + phases_at_);
    for (int64_t c = 0; c < depth(); ++c)
      for (int64_t i = 0; i < p1 - p0 + rows_.reach; ++i) {
        const int64_t iy = p0 - rows_.reach + i;
        const float* line = x + ((image * g_.inputs + group * depth() + c) * g_.height + iy) * g_.width;
        bring(iy >= 0 && iy < g_.height ? line : nullptr, q0, inputs + c * plane() + i * pitch());
      }
    y += output * g_.out_height * g_.out_width;
    const int64_t top = std::max<int64_t>(0, p0 * g_.stride_y - g_.pad_top);
    const int64_t bottom = std::min(g_.out_height, p1 * g_.stride_y - g_.pad_top);
    for (int64_t first = top; first < std::min(bottom, top + g_.stride_y); ++first) {
      filter(inputs, channel, g_.rows().rest(first), (p1 - p0 - 1) * pitch() + q1 - q0, phases, own);
      for (int64_t oy = first; oy < bottom; oy += g_.stride_y)
        interleave(transpose_, phases + (g_.rows().base(oy) - p0) * pitch(), phase(), g_.stride_x, q1 - q0,
                   q0 * g_.stride_x - g_.pad_left, g_.out_width, reinterpret_cast<float*>(own + line_at_),
                   y + oy * g_.out_width);
    }
  }

  // All phases of lines that leave `rest`: `n` positions, line behind line.
  void filter(const float* inputs, int64_t channel, int64_t rest, int64_t n, float* phases, char* own) const {
    auto** sources = reinterpret_cast<const float**>(own + sources_at_);
    auto* weights = reinterpret_cast<float*>(own + weights_at_);
    const int64_t outputs = g_.outputs / g_.groups, group = channel / outputs;
    const auto [first, last] = taps_of(taps_y_, rest);
    TapsArgs args{sources, weights, nullptr, 0, n, bias_.as<float>()[channel], act_};
    for (int64_t x = 0; x < g_.stride_x; ++x) {
      args.count = 0;
      const auto [left, right] = taps_of(taps_x_, x);
      for (int64_t c = 0; c < depth(); ++c)
        for (auto ky = first; ky != last; ++ky) {
          const float* from = inputs + c * plane() + (rows_.reach - ky->distance) * pitch() + columns_.reach;
          const int64_t row = ((group * depth() + c) * outputs + channel % outputs) * g_.kernel_height + ky->k;
          for (auto kx = left; kx != right; ++kx) {
            sources[args.count] = from - kx->distance;
            weights[args.count++] = weights_.as<float>()[row * g_.kernel_width + kx->k];
          }
        }
      args.y = phases + x * phase();
      taps_.run(&args);
    }
  }

  // Inputs of a line from q0 - reach on, zeros outside of it; no line: zeros.
  void bring(const float* x, int64_t q0, float* to) const {
    const int64_t first = q0 - columns_.reach, count = pitch();
    const int64_t from = x ? std::clamp<int64_t>(-first, 0, count) : count;
    const int64_t end = std::clamp<int64_t>(g_.width - first, from, count);
    for (int64_t i = 0; i < from; ++i) to[i] = 0.0f;
    if (end > from) std::memcpy(to + from, x + first + from, static_cast<size_t>(end - from) * 4);
    for (int64_t i = end; i < count; ++i) to[i] = 0.0f;
  }

  TransposedGeometry g_;
  ActArgs act_;
  const TapsF32& taps_;
  const TransposeF32& transpose_;
  Positions rows_, columns_;
  std::vector<TransposedAxis::Tap> taps_y_, taps_x_;
  int64_t m_ = 0, n_ = 0, row_pieces_ = 0, column_pieces_ = 0;
  int64_t inputs_at_ = 0, phases_at_ = 0, line_at_ = 0, sources_at_ = 0, weights_at_ = 0;
  Buffer weights_, bias_;
  ThreadAreas areas_;
};

class Planar : public ConvolutionRoutine, public Estimating {
 public:
  Planar(const char* id, Layout layout) : ConvolutionRoutine(id, layout, layout) { applying_ = PW_KIND_TAPS_F32; }
  Verdict suits(const Problem& p, const Geometry&) const override {
    const TransposedGeometry g = lying(TransposedGeometry(p));
    if (in_ == Layout::nhwc && g.inputs * g.outputs != 1) return Verdict::no("more than one channel, which nhwc interleaves");
    if (p.epilogue.add) return Verdict::no("it adds no residual");
    if (g.stride_x > kWidestStride) return Verdict::no("the stride along x is above " + std::to_string(kWidestStride));
    // A piece holds all lines and columns up to its farthest tap.
    if (Positions(g.columns()).reach > g.width + g.kernel_width || Positions(g.rows()).reach > g.height + g.kernel_height)
      return Verdict::no("taps lie farther apart than the image is large");
    return g.few_taps_outside();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    return ukernel_names(PW_KIND_TAPS_F32, epilogue_act(p));
  }
  // Groups of few inputs and outputs.
  Ports ports(const Problem& p) const override {
    Ports ports = ConvolutionRoutine::ports(p);
    const TransposedGeometry g = lying(TransposedGeometry(p));
    const bool few = g.inputs * g.outputs <= 4 * g.groups * g.groups;
    ports.order = few ? -2 : 2;
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.09);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<PlanarKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Planar>("conv_transpose2/planar:f32:nchw:cpu", Layout::nchw);
  c.add<Planar>("conv_transpose2/planar:f32:nhwc:cpu", Layout::nhwc);
}
}  // namespace PW_COLLECT
}  // namespace pw
