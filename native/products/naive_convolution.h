// The plain loops of conv2 and depthwise_conv2, summed in double: what the other routines are read against.
#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "products/geometry.h"
#include "values/operands.h"

namespace pw {

class NaiveConvolutionKernel : public PieceKernel {
 public:
  NaiveConvolutionKernel(const Problem& p, const Constants& constants) : g_(p), operands_(p, constants) {
    if (p.kind == "depthwise_conv2") g_.groups = g_.inputs;
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = operands_.get<float>(0, in);
    const auto* w = operands_.get<float>(1, in);
    const auto* bias = operands_.get<float>(2, in);
    auto* y = static_cast<float*>(out[0]);
    team.each(g_.images * g_.outputs * g_.out_height, 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const int64_t oy = row % g_.out_height, plane = row / g_.out_height;
        const int64_t image = plane / g_.outputs, output = plane % g_.outputs;
        for (int64_t ox = 0; ox < g_.out_width; ++ox) {
          const double b = bias ? bias[output] : 0.0;
          y[row * g_.out_width + ox] = static_cast<float>(b + sum(x, w, image, output, oy, ox));
        }
      }
    });
  }

 private:
  double sum(const float* x, const float* w, int64_t image, int64_t output, int64_t oy, int64_t ox) const {
    const int64_t first_input = output / g_.group_outputs() * g_.group_inputs();
    double total = 0.0;
    for (int64_t i = 0; i < g_.group_inputs(); ++i) {
      const float* plane = x + (image * g_.inputs + first_input + i) * g_.in_pixels();
      const float* filter = w + (output * g_.group_inputs() + i) * g_.taps();
      for (int64_t ky = 0; ky < g_.kernel_height; ++ky) {
        const int64_t iy = oy * g_.stride_y - g_.pad_top + ky * g_.dilation_y;
        if (iy < 0 || iy >= g_.height) continue;
        for (int64_t kx = 0; kx < g_.kernel_width; ++kx) {
          const int64_t ix = ox * g_.stride_x - g_.pad_left + kx * g_.dilation_x;
          if (ix < 0 || ix >= g_.width) continue;
          total += static_cast<double>(plane[iy * g_.width + ix]) * filter[ky * g_.kernel_width + kx];
        }
      }
    }
    return total;
  }

  Geometry g_;
  Operands operands_;
};

// Any attributes; weights and bias may be values.
class NaiveConvolution : public Routine {
 public:
  explicit NaiveConvolution(const std::string& layer)
      : Routine({.id = layer + "/naive:f32:nchw:cpu", .reference = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() < 2 || p.in[0].shape.size() != 4 || p.in[1].shape.size() != 4)
      return Verdict::no("x or the weights are not of rank 4");
    for (const Tensor& t : p.in)
      if (t.present && t.dtype != DType::f32) return Verdict::no("an input is not f32");
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& c) const override {
    return std::make_unique<NaiveConvolutionKernel>(p, c);
  }

};

}  // namespace pw
