// conv_transpose2/depthwise: one group per channel; each phase of the output is a depthwise convolution of stride 1 over
// the input where it lies, vectorised over channels.
#include "routines/conv_transpose2/geometry.h"
#include "spi/estimate.h"
#include "ukernels/kinds/depthwise_f32.h"

namespace pw {
namespace {

// The micro-kernel for any kernel and stride.
std::string general_kernel(Act act) {
  for (const auto& [name, body] : ukernels_of<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, true, act))
    if (body->kernel == 0) return name;
  return {};
}

class TransposedDepthwiseKernel : public PieceKernel {
 public:
  TransposedDepthwiseKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p),
        add_(p.epilogue.add),
        act_(*epilogue_activation(p)),
        kernel_(variant_ukernel<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, variant)),
        phases_(g_.phases()),
        zeros_(zero_row(g_.inputs)) {
    bias_ = pack_bias(bias_of(p, constants), g_.inputs, 16);
    size_t most_taps = 1;
    for (const Phase& f : phases_) {
      most_taps = std::max(most_taps, f.taps.size());
      weights_.push_back(pack(f, constants[1].as<float>()));
    }
    areas_ = {round_up(static_cast<int64_t>(most_taps) * 8, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override {
    size_t bytes = bias_.bytes();
    for (const Buffer& b : weights_) bytes += b.bytes();
    return bytes;
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto** pixels = areas_.own<const float*>(workspace, team);
    const int64_t rows = g_.images * g_.out_height;
    team.each(rows, std::max<int64_t>(1, rows / (8 * team.count)), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const int64_t phase = row % g_.out_height % g_.stride_y * g_.phase_columns();
        for (int64_t f = phase; f < phase + g_.phase_columns(); ++f)
          phase_row(static_cast<size_t>(f), x, y, residual, row, pixels);
      }
    });
  }

 private:
  // Weights [C, 1, kh, kw] of a phase's taps: for each vector of channels taps * lanes floats.
  Buffer pack(const Phase& f, const float* w) const {
    const int64_t lanes = kernel_.lanes, taps = static_cast<int64_t>(f.taps.size());
    const int64_t padded = round_up(g_.inputs, lanes), all = g_.kernel_height * g_.kernel_width;
    Buffer packed(static_cast<size_t>(padded * taps) * 4);
    for (int64_t c = 0; c < padded; ++c)
      for (int64_t t = 0; t < taps; ++t)
        packed.as<float>()[(c / lanes * taps + t) * lanes + c % lanes] =
            c < g_.inputs ? w[c * all + f.taps[static_cast<size_t>(t)].index] : 0.0f;
    return packed;
  }

  // The outputs of a phase in row `row`, counted through the images.
  void phase_row(size_t index, const float* x, float* y, const float* residual, int64_t row,
                 const float** pixels) const {
    const Phase& f = phases_[index];
    const int64_t channels = g_.inputs, image = row / g_.out_height, oy = row % g_.out_height;
    const int64_t line = f.base_y + (oy - f.first_y) / g_.stride_y;
    const float* source = x + image * g_.height * g_.width * channels;
    DepthwiseArgs<float> args{};
    args.pixels = pixels;
    args.weights = weights_[index].as<float>();
    args.bias = bias_.as<float>();
    args.channels = channels;
    args.columns = 1;
    args.y_pixel = channels;
    args.taps = static_cast<int64_t>(f.taps.size());
    args.act = act_;
    for (int64_t i = 0; i < f.width; ++i) {
      for (size_t t = 0; t < f.taps.size(); ++t) {
        const int64_t iy = line - f.taps[t].y, ix = f.base_x + i - f.taps[t].x;
        const bool inside = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        pixels[t] = inside ? source + (iy * g_.width + ix) * channels : zeros_;
      }
      const int64_t to = (row * g_.out_width + f.first_x + i * g_.stride_x) * channels;
      args.y = y + to;
      args.residual = residual ? residual + to : nullptr;
      kernel_.run(&args);
    }
  }

  TransposedGeometry g_;
  bool add_;
  ActArgs act_;
  const DepthwiseF32& kernel_;
  std::vector<Phase> phases_;
  std::vector<Buffer> weights_;  // per phase
  Buffer bias_;
  ThreadAreas areas_;  // pointers
  const float* zeros_;
};

class TransposedDepthwise : public ConvolutionRoutine, public Estimating {
 public:
  TransposedDepthwise() : ConvolutionRoutine("conv_transpose2/depthwise:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc) {
    applying_ = PW_KIND_DEPTHWISE_F32;
  }
  Verdict suits(const Problem& p, const Geometry&) const override {
    const TransposedGeometry g(p);
    if (g.groups != g.inputs || g.outputs != g.inputs) return Verdict::no("it is not one filter per channel");
    if (general_kernel(epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    if (Verdict v = g.few_taps_outside(); !v) return v;
    return g.few_phases();
  }
  std::vector<std::string> variants(const Problem& p) const override { return {general_kernel(epilogue_act(p))}; }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.1);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<TransposedDepthwiseKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<TransposedDepthwise>(); }
}  // namespace PW_COLLECT
}  // namespace pw
