// depthwise_conv2/direct: vectors of channels, a few neighbouring outputs at a time.
#include <cstring>

#include "base/error.h"
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

class DepthwiseKernel : public PieceKernel {
 public:
  DepthwiseKernel(const Problem& p, Layout layout, const std::string& variant, const Constants& constants)
      : g_(p), blocked_(layout == Layout::nchw16c), add_(p.epilogue.add), act_(*epilogue_activation(p)) {
    kernel_ = ukernel<DepthwiseF32>(PW_KIND_DEPTHWISE_F32, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
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
    pointers_ = round_up(g_.kernel_height * columns_ * 8, 64);
    threads_ = p.threads;
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * pointers_); }
  size_t packed_bytes() const override { return weights_.bytes() + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto** pixels = reinterpret_cast<const float**>(static_cast<char*>(workspace) + team.index * pointers_);
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
  int64_t channels_, slabs_, columns_, pointers_, threads_;
  Buffer weights_, bias_;
  const float* zeros_;
};

class Depthwise : public Routine {
 public:
  Depthwise(Layout layout, const char* id) : layout_(layout) {
    card_.id = id;
    card_.layer = "depthwise_conv2";
    card_.takes_epilogue = true;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, layout_, layout_); !v) return v;
    if (micro_kernel(Geometry(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return {micro_kernel(Geometry(p))}; }
  Ports ports(const Problem& p) const override { return convolution_ports(p, layout_, layout_); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseKernel>(p, layout_, variant, c);
  }

 private:
  Layout layout_;
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Depthwise>(Layout::nhwc, "depthwise_conv2/direct:f32:nhwc:cpu");
  c.add<Depthwise>(Layout::nchw16c, "depthwise_conv2/direct:f32:nchw16c:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
