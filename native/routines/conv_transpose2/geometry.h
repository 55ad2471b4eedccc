// Shapes of a transposed convolution, and its phases: outputs whose row and column leave the same rests when divided by
// the strides are reached by the same taps. Each phase is a convolution of stride 1 over the input where it lies.
#pragma once
#include <algorithm>
#include <vector>

#include "base/size.h"
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

  // Phases that have outputs, and taps that are looked at to find those of each. Declines more than routines shall keep.
  static constexpr int64_t kMostPhases = int64_t{1} << 16, kMostLooks = int64_t{1} << 26;
  Verdict few_phases() const {
    const int64_t phases = saturated(std::min(stride_y, out_height), std::min(stride_x, out_width));
    if (phases > kMostPhases || saturated(phases, kernel_height * kernel_width) > kMostLooks)
      return Verdict::no("its strides make " + std::to_string(phases) + " phases of " +
                         std::to_string(kernel_height * kernel_width) + " taps");
    return Verdict::ok();
  }

  // The phases that have outputs.
  std::vector<Phase> phases() const {
    std::vector<Phase> found;
    for (int64_t rest_y : rests(stride_y, out_height, pad_top))
      for (int64_t rest_x : rests(stride_x, out_width, pad_left)) found.push_back(phase(rest_y, rest_x));
    return found;
  }
  // Rests that outputs leave when divided by the stride, in ascending order.
  static std::vector<int64_t> rests(int64_t stride, int64_t out, int64_t pad) {
    std::vector<int64_t> found;
    for (int64_t o = 0; o < std::min(stride, out); ++o) found.push_back((o + pad) % stride);
    std::sort(found.begin(), found.end());
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
