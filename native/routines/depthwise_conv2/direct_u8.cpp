// depthwise_conv2/direct on u8: vectors of channels, a few neighbouring outputs at a time.
#include <cstring>

#include "routines/conv2/geometry_u8.h"
#include "routines/depthwise_conv2/rows.h"
#include "ukernels/kinds/depthwise_u8.h"

namespace pw {
namespace {

std::string micro_kernel(const Geometry& g) { return depthwise_ukernel<DepthwiseU8>(g, PW_KIND_DEPTHWISE_U8); }

class DepthwiseU8Kernel : public PieceKernel {
 public:
  DepthwiseU8Kernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), out_(requantise(p, constants)), threads_(p.threads) {
    kernel_ = ukernel<DepthwiseU8>(PW_KIND_DEPTHWISE_U8, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    columns_ = kernel_->kernel ? (kernel_->outputs - 1) * kernel_->stride + kernel_->kernel : g_.kernel_width;
    pack(constants[1].as<float>(), bias_of(p, constants), scale_in(constants, 0));
    pointers_ = round_up(g_.kernel_height * columns_ * 8, 64);
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * pointers_); }
  size_t packed_bytes() const override { return weights_.bytes() + factors_.bytes() + outside_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    auto** pixels = reinterpret_cast<const uint8_t**>(static_cast<char*>(workspace) + team.index * pointers_);
    const int64_t rows = g_.images * g_.out_height;
    team.each(rows, std::max<int64_t>(1, rows / (8 * team.count)), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) output_row(x, y, residual, row, pixels);
    });
  }

 private:
  void pack(const float* w, const float* bias, Scale in) {
    const int64_t lanes = kernel_->lanes, taps = g_.taps();
    padded_ = round_up(g_.inputs, lanes);
    weights_ = Buffer(static_cast<size_t>(padded_ * taps) * 4);
    factors_ = Buffer(static_cast<size_t>(padded_ * 3) * 4);
    std::memset(weights_.as<char>(), 0, weights_.bytes());
    std::memset(factors_.as<char>(), 0, factors_.bytes());
    float *start = factors_.as<float>(), *scale = start + padded_, *shift = scale + padded_;
    for (int64_t c = 0; c < g_.inputs; ++c) {
      const float of_weights = weight_scale(taps, [&](int64_t t) { return w[c * taps + t]; });
      int32_t sum = 0;
      for (int64_t t = 0; t < taps; ++t) {
        const int32_t q = quantised_weight(w[c * taps + t], of_weights);
        weights_.as<float>()[(c / lanes * taps + t) * lanes + c % lanes] = static_cast<float>(q);
        sum += q;
      }
      start[c] = static_cast<float>(-in.zero * sum);
      scale[c] = in.scale * of_weights;
      shift[c] = bias ? bias[c] : 0.0f;
    }
    outside_ = Buffer(static_cast<size_t>(g_.inputs));
    std::memset(outside_.as<char>(), in.zero, outside_.bytes());
  }

  // Row `row` of the outputs, counted through the images.
  void output_row(const uint8_t* x, uint8_t* y, const uint8_t* residual, int64_t row, const uint8_t** pixels) const {
    const int64_t oy = row % g_.out_height, pixel = g_.inputs;
    const uint8_t *image = x + row / g_.out_height * g_.in_pixels() * pixel, *outside = outside_.as<uint8_t>();
    const int64_t to = row * g_.out_width * pixel;
    DepthwiseU8Args args{};
    args.pixels = pixels;
    args.weights = weights_.as<float>();
    args.start = factors_.as<float>();
    args.scale = args.start + padded_;
    args.bias = args.scale + padded_;
    args.channels = pixel;
    args.y_pixel = pixel;
    args.taps = g_.taps();
    args.out = out_;
    const int64_t step = kernel_->outputs;
    walk_outputs(g_, oy, step, columns_, pixel, image, outside, pixels, [&](int64_t ox) {
      args.columns = std::min(step, g_.out_width - ox);
      args.y = y + to + ox * pixel;
      args.residual = residual ? residual + to + ox * pixel : nullptr;
      kernel_->run(&args);
    });
  }

  Geometry g_;
  bool add_;
  RequantU8 out_;
  int64_t threads_;
  const DepthwiseU8* kernel_ = nullptr;
  int64_t columns_, pointers_, padded_;
  Buffer weights_, factors_, outside_;
};

class DepthwiseU8Routine : public Routine {
 public:
  DepthwiseU8Routine() : Routine({.id = "depthwise_conv2/direct:u8:nhwc:cpu", .accuracy = Accuracy::quantised, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution_u8(p); !v) return v;
    if (Geometry(p).taps() > kMostDepthwiseTaps)
      return Verdict::no("the kernel has more than " + std::to_string(kMostDepthwiseTaps) + " taps");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return {micro_kernel(Geometry(p))}; }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseU8Kernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DepthwiseU8Routine>(); }
}  // namespace PW_COLLECT
}  // namespace pw
