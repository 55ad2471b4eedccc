// Rows of a depthwise convolution: what depthwise_conv2/direct and the fused routines that contain one share.
#pragma once
#include <string>

#include "base/error.h"
#include "routines/conv2/geometry.h"
#include "routines/stored.h"
#include "ukernels/kinds/depthwise_f32.h"

namespace pw {

// The micro-kernel of a kind made for this kernel and stride, or the general one; "" when the tier has none.
template <class Body>
std::string depthwise_ukernel(const Geometry& g, const char* kind) {
  const bool square = g.kernel_height == g.kernel_width && g.dilation_x == 1 && g.dilation_y == 1;
  std::string any;
  for (const auto& [name, body] : ukernels_of<Body>(kind, true)) {
    if (square && body->kernel == g.kernel_width && body->stride == g.stride_x) return name;
    if (body->kernel == 0) any = name;
  }
  return any;
}
inline std::string depthwise_ukernel(const Geometry& g) {
  return depthwise_ukernel<DepthwiseF32>(g, PW_KIND_DEPTHWISE_F32);
}

// The walk along row `oy` of the outputs of one image: points `pixels`, a kernel row after the other, `columns` each, to the
// input pixels of `step` neighbouring outputs, those outside of the image to `outside`, and calls body(first output).
// Row iy of the input begins at image + iy * width pixels of `channels`; only rows that the kernel covers are addressed.
template <class T, class Body>
void walk_outputs(const Geometry& g, int64_t oy, int64_t step, int64_t columns, int64_t channels, const T* image,
                  const T* outside, const T** pixels, Body&& body) {
  const int64_t count = g.kernel_height * columns;
  bool inside_before = false;
  for (int64_t ox = 0; ox < g.out_width; ox += step) {
    const int64_t x0 = ox * g.stride_x - g.pad_left;
    const bool inside = x0 >= 0 && x0 + (columns - 1) * g.dilation_x < g.width;
    if (inside && inside_before) {
      // Rows above and below the image keep pointing outside.
      for (int64_t i = 0; i < count; ++i)
        if (pixels[i] != outside) pixels[i] += step * g.stride_x * channels;
    } else {
      for (int64_t ky = 0; ky < g.kernel_height; ++ky) {
        const int64_t iy = oy * g.stride_y - g.pad_top + ky * g.dilation_y;
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t ix = x0 + j * g.dilation_x;
          const bool there = iy >= 0 && iy < g.height && ix >= 0 && ix < g.width;
          pixels[ky * columns + j] = there ? image + (iy * g.width + ix) * channels : outside;
        }
      }
    }
    inside_before = inside;
    body(ox);
  }
}

// Weights and bias packed, and the walk along one row of outputs. `channels`: of a pixel as it lies in memory (16 in
// nchw16c, where the weights of a block begin at `block`).
template <class T>
class DepthwiseRowsOf {
 public:
  DepthwiseRowsOf(const Geometry& g, const std::string& variant, int64_t channels, const float* weights,
                const float* bias, const ActArgs& act)
      : g_(g), act_(act), channels_(channels), kernel_(ukernel<DepthwiseOf<T>>(kind(), variant)) {
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    columns_ = kernel_->kernel ? (kernel_->outputs - 1) * kernel_->stride + kernel_->kernel : g.kernel_width;
    const int64_t lanes = kernel_->lanes, taps = g.taps(), padded = round_up(g.inputs, lanes);
    weights_ = Buffer(static_cast<size_t>(padded * taps) * 4);
    for (int64_t c = 0; c < padded; ++c)
      for (int64_t t = 0; t < taps; ++t)
        weights_.as<float>()[(c / lanes * taps + t) * lanes + c % lanes] = c < g.inputs ? weights[c * taps + t] : 0.0f;
    bias_ = pack_bias(bias, g.inputs, 16);
    zeros_ = reinterpret_cast<const T*>(zero_row(channels));
  }
  static const char* kind() { return stored_kind<T>(PW_KIND_DEPTHWISE_F32, PW_KIND_DEPTHWISE_BF16); }

  // Bytes of the pointers to pixels that one thread needs.
  int64_t pointer_bytes() const { return round_up(g_.kernel_height * columns_ * 8, 64); }
  size_t packed_bytes() const { return weights_.bytes() + bias_.bytes(); }

  // Row `oy` of the outputs of one image. Row iy of the input begins at image + iy * width pixels; only rows that the
  // kernel covers are read. `y`, `residual` (may be null): the row's first output.
  void output_row(const T* image, int64_t oy, int64_t block, T* y, const T* residual,
                  const T** pixels) const noexcept {
    DepthwiseArgs<T> args{};
    args.pixels = pixels;
    args.weights = weights_.as<float>() + block * 16 * g_.taps();
    args.bias = bias_.as<float>() + block * 16;
    args.channels = channels_;
    args.y_pixel = channels_;
    args.taps = g_.taps();
    args.act = act_;
    const int64_t step = kernel_->outputs;
    walk_outputs(g_, oy, step, columns_, channels_, image, zeros_, pixels, [&](int64_t ox) {
      args.columns = std::min(step, g_.out_width - ox);
      args.y = y + ox * channels_;
      args.residual = residual ? residual + ox * channels_ : nullptr;
      kernel_->run(&args);
    });
  }

 private:
  Geometry g_;
  ActArgs act_;
  int64_t channels_, columns_;
  const DepthwiseOf<T>* kernel_;
  Buffer weights_, bias_;
  const T* zeros_;
};
using DepthwiseRows = DepthwiseRowsOf<float>;

}  // namespace pw
