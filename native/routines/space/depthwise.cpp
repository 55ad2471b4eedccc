// Convolutions over three axes with one filter per channel, either way: vectors of channels, an output at a time.
#include "products/space.h"
#include "ukernels/kinds/depthwise_f32.h"

namespace pw {
namespace {

class DepthwiseKernel : public PieceKernel {
 public:
  DepthwiseKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), act_(*epilogue_activation(p)),
        kernel_(variant_ukernel<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, variant)), phases_(phases_of(g_)) {
    const int64_t lanes = kernel_.lanes, padded = round_up(g_.inputs, lanes);
    const auto* w = constants[1].as<float>();
    int64_t most = 1;
    for (const Phase& phase : phases_) {
      Buffer packed(static_cast<size_t>(padded * phase.taps) * 4);
      for (int64_t c = 0; c < padded; ++c)
        for (int64_t t = 0; t < phase.taps; ++t) {
          const int64_t tap = phase.tap[static_cast<size_t>(t)];
          packed.as<float>()[(c / lanes * phase.taps + t) * lanes + c % lanes] =
              c < g_.inputs && tap >= 0 ? w[c * g_.taps() + tap] : 0.0f;
        }
      weights_.push_back(std::move(packed));
      starts_.push_back(rows_);
      rows_ += g_.images * phase.axis[0].count * phase.axis[1].count;
      most = std::max(most, phase.taps);
    }
    bias_ = pack_bias(bias_of(p, constants), g_.inputs, 16);
    zeros_ = zero_row(g_.inputs);
    areas_ = {round_up(most * 8, 64), p.threads};
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
    team.each(rows_, std::max<int64_t>(1, rows_ / (16 * team.count)), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        size_t i = phases_.size() - 1;
        while (starts_[i] > row) --i;
        one_row(i, row - starts_[i], x, y, residual, pixels);
      }
    });
  }

 private:
  // The outputs of a phase along the last axis.
  void one_row(size_t number, int64_t row, const float* x, float* y, const float* residual, const float** pixels) const {
    const Phase& phase = phases_[number];
    const int64_t count = phase.axis[2].count, image = g_.in_pixels() * g_.inputs;
    PhaseWalk walk(g_, phase, row * count);
    DepthwiseArgs<float> args{};
    args.pixels = pixels;
    args.weights = weights_[number].as<float>();
    args.bias = bias_.as<float>();
    args.channels = g_.inputs;
    args.columns = 1;
    args.y_pixel = g_.inputs;
    args.taps = phase.taps;
    args.act = act_;
    for (int64_t i = 0; i < count; ++i, walk.next()) {
      const float* from = x + walk.image() * image;
      walk.each_tap([&](int64_t t, int64_t pixel) { pixels[t] = pixel < 0 ? zeros_ : from + pixel * g_.inputs; });
      const int64_t at = walk.pixel() * g_.inputs;
      args.y = y + at;
      args.residual = residual ? residual + at : nullptr;
      kernel_.run(&args);
    }
  }

  SpaceGeometry g_;
  bool add_;
  ActArgs act_;
  const DepthwiseF32& kernel_;
  std::vector<Phase> phases_;
  std::vector<Buffer> weights_;
  std::vector<int64_t> starts_;
  int64_t rows_ = 0;
  Buffer bias_;
  const float* zeros_;
  ThreadAreas areas_;
};

class Depthwise : public Routine {
 public:
  explicit Depthwise(const std::string& layer)
      : Routine({.id = layer + "/depthwise:f32:ndhwc:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_space(p, PW_KIND_DEPTHWISE_F32); !v) return v;
    if (!p.in[1].constant || (p.arity() > 2 && p.has(2) && !p.in[2].constant)) return Verdict::no("weights or bias are values");
    if (!SpaceGeometry(p).depthwise()) return Verdict::no("there is not one filter for each channel");
    if (p.epilogue.add && p.kind.starts_with("conv_transpose")) return Verdict::no("it adds no residual");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    for (const auto& [name, body] : ukernels_of<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, true, epilogue_act(p)))
      if (body->kernel == 0) return {name};
    return {};
  }
  Ports ports(const Problem& p) const override { return preferred(space_ports(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"conv3", "conv_transpose3"}) c.add<Depthwise>(layer);
}
}  // namespace PW_COLLECT

}  // namespace pw
