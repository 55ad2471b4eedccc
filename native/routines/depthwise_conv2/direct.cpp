// depthwise_conv2/direct: vectors of channels, a few neighbouring outputs at a time.
#include <cstring>

#include "routines/conv2/geometry.h"
#include "ukernels/kinds/depthwise_f32.h"

namespace pw {
namespace {

// The micro-kernel made for this kernel and stride, or the general one.
std::string micro_kernel(const Geometry& g) {
  const bool square = g.kernel_height == g.kernel_width && g.dilation_x == 1 && g.dilation_y == 1;
  std::string any;
  for (const auto& [name, body] : ukernels_of<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, true)) {
    if (square && body->kernel == g.kernel_width && body->stride == g.stride_x) return name;
    if (body->kernel == 0) any = name;
  }
  return any;
}

class DepthwiseKernel : public Kernel {
 public:
  DepthwiseKernel(const Problem& p, Layout layout, const std::string& variant, const Constants& constants)
      : g_(p), blocked_(layout == Layout::nchw16c), add_(p.epilogue.add), act_(*epilogue_activation(p)) {
    kernel_ = &variant_ukernel<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, variant);
    channels_ = blocked_ ? 16 : g_.inputs;
    slabs_ = blocked_ ? g_.inputs / 16 : 1;
    columns_ = kernel_->kernel ? (kernel_->outputs - 1) * kernel_->stride + kernel_->kernel : g_.kernel_width;
    const int64_t lanes = kernel_->lanes, taps = g_.taps(), padded = round_up(g_.inputs, lanes);
    weights_ = Buffer(static_cast<size_t>(padded * taps) * 4);
    const auto* w = constants[1].as<float>();
    for (int64_t c = 0; c < padded; ++c)
      for (int64_t t = 0; t < taps; ++t)
        weights_.as<float>()[(c / lanes * taps + t) * lanes + c % lanes] = c < g_.inputs ? w[c * taps + t] : 0.0f;
    bias_ = pack_bias(bias_of(p, constants), g_.inputs, 16);
    zeros_ = zero_row(channels_);
    areas_ = {round_up(g_.kernel_height * columns_ * 8, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_.bytes() + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto** pixels = areas_.own<const float*>(workspace, team);
    const int64_t rows = g_.images * slabs_ * g_.out_height;
    team.each(rows, std::max<int64_t>(1, rows / (8 * team.count)), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) output_row(x, y, residual, row, pixels);
    });
  }

 private:
  // Row `row` of the outputs, counted through images and channel blocks.
  void output_row(const float* x, float* y, const float* residual, int64_t row, const float** pixels) const {
    const int64_t slab = row / g_.out_height, oy = row % g_.out_height;
    const int64_t pixel = channels_, block = slab % slabs_;
    const float* image = x + slab * g_.in_pixels() * pixel;
    const int64_t to = row * g_.out_width * pixel;
    DepthwiseF32Args args{};
    args.pixels = pixels;
    args.weights = weights_.as<float>() + block * 16 * g_.taps();
    args.bias = bias_.as<float>() + block * 16;
    args.channels = channels_;
    args.y_pixel = pixel;
    args.taps = g_.taps();
    args.act = act_;
    const int64_t step = kernel_->outputs, count = g_.kernel_height * columns_;
    bool inside_before = false;
    for (int64_t ox = 0; ox < g_.out_width; ox += step) {
      const int64_t x0 = ox * g_.stride_x - g_.pad_left;
      const bool inside = x0 >= 0 && x0 + (columns_ - 1) * g_.dilation_x < g_.width;
      if (inside && inside_before) {
        // Rows above and below the image keep pointing to zeros.
        for (int64_t i = 0; i < count; ++i)
          if (pixels[i] != zeros_) pixels[i] += step * g_.stride_x * pixel;
      } else {
        point(image, oy, x0, pixels);
      }
      inside_before = inside;
      args.columns = std::min(step, g_.out_width - ox);
      args.y = y + to + ox * pixel;
      args.residual = residual ? residual + to + ox * pixel : nullptr;
      kernel_->run(&args);
    }
  }

  void point(const float* image, int64_t oy, int64_t x0, const float** pixels) const {
    for (int64_t ky = 0; ky < g_.kernel_height; ++ky) {
      const int64_t iy = oy * g_.stride_y - g_.pad_top + ky * g_.dilation_y;
      for (int64_t j = 0; j < columns_; ++j) {
        const int64_t ix = x0 + j * g_.dilation_x;
        const bool inside = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        pixels[ky * columns_ + j] = inside ? image + (iy * g_.width + ix) * channels_ : zeros_;
      }
    }
  }

  Geometry g_;
  bool blocked_, add_;
  ActArgs act_;
  const DepthwiseF32* kernel_ = nullptr;
  int64_t channels_, slabs_, columns_;
  ThreadAreas areas_;  // pointers
  Buffer weights_, bias_;
  const float* zeros_;
};

class Depthwise : public ConvolutionRoutine {
 public:
  Depthwise(Layout layout, const char* id) : ConvolutionRoutine(id, layout, layout) {}
  Verdict suits(const Problem&, const Geometry& g) const override {
    if (micro_kernel(g).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return {micro_kernel(Geometry(p))}; }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseKernel>(p, in_, variant, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Depthwise>(Layout::nhwc, "depthwise_conv2/direct:f32:nhwc:cpu");
  c.add<Depthwise>(Layout::nchw16c, "depthwise_conv2/direct:f32:nchw16c:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
