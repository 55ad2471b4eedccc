// Shapes of a transposed convolution, and its phases: outputs whose row and column leave the same rests when divided by
// the strides are reached by the same taps. Each phase is a convolution of stride 1 over the input where it lies.
#pragma once
#include <vector>

#include "routines/conv2/geometry.h"

namespace pw {

struct Tap {
  int64_t y, x;   // distance from the phase's position to the input pixel, towards the origin
  int64_t index;  // in the kernel
};

struct Phase {
  int64_t first_y, first_x;  // first output pixel; the next ones are a stride away
  int64_t height, width;     // outputs of one image
  int64_t base_y, base_x;    // input pixel of the first output at distance 0
  std::vector<Tap> taps;
};

struct TransposedGeometry {
  int64_t images, inputs, height, width, outputs, kernel_height, kernel_width, out_height, out_width;
  int64_t stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x, groups;

  explicit TransposedGeometry(const Problem& p) {
    const auto &x = p.in[0].shape, &w = p.in[1].shape, &y = p.out[0].shape;
    images = x[0], inputs = x[1], height = x[2], width = x[3];
    kernel_height = w[2], kernel_width = w[3];
    outputs = y[1], out_height = y[2], out_width = y[3];
    const auto stride = p.integers("stride"), pad = p.integers("pad"), dilation = p.integers("dilation");
    stride_y = stride[0], stride_x = stride[1], pad_top = pad[0], pad_left = pad[1];
    dilation_y = dilation[0], dilation_x = dilation[1];
    groups = p.integer("groups");
  }

  // The phases that have outputs.
  std::vector<Phase> phases() const {
    std::vector<Phase> found;
    for (int64_t rest_y = 0; rest_y < stride_y; ++rest_y)
      for (int64_t rest_x = 0; rest_x < stride_x; ++rest_x)
        if (Phase f = phase(rest_y, rest_x); f.height > 0 && f.width > 0) found.push_back(std::move(f));
    return found;
  }

  // Output oy takes tap ky of input iy where oy + pad_top == iy * stride_y + ky * dilation_y; columns alike.
  Phase phase(int64_t rest_y, int64_t rest_x) const {
    Phase f{};
    f.first_y = ((rest_y - pad_top) % stride_y + stride_y) % stride_y;
    f.first_x = ((rest_x - pad_left) % stride_x + stride_x) % stride_x;
    f.height = f.first_y < out_height ? divide_up(out_height - f.first_y, stride_y) : 0;
    f.width = f.first_x < out_width ? divide_up(out_width - f.first_x, stride_x) : 0;
    f.base_y = (f.first_y + pad_top) / stride_y;
    f.base_x = (f.first_x + pad_left) / stride_x;
    for (int64_t ky = 0; ky < kernel_height; ++ky)
      for (int64_t kx = 0; kx < kernel_width; ++kx)
        if (ky * dilation_y % stride_y == rest_y && kx * dilation_x % stride_x == rest_x)
          f.taps.push_back({ky * dilation_y / stride_y, kx * dilation_x / stride_x, ky * kernel_width + kx});
    return f;
  }
};

}  // namespace pw
