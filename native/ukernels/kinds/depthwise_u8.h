// Kind depthwise_u8: a few neighbouring outputs of a depthwise convolution on u8, vectorised over channels.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// The most terms of a sum: below 2^24 / (255 * 127) every partial sum is an integer that a float holds exactly, so that
// fused multiply-adds in float32 are integer arithmetic.
constexpr int64_t kMostDepthwiseTaps = 518;

// pixels: for each kernel row the input pixels that `outputs` neighbouring outputs need, `pixel_columns` pointers a row
// ((outputs - 1) * stride + kernel of them; for a general kernel outputs == 1 and one pointer per tap). Pixels outside
// the image, and those of outputs that are not stored, point to zero points.
// weights: quantised, as floats: for each vector of channels taps * lanes, then the next; start, scale and bias the same
// with one row: sums begin with start = -zero_of_x * (sum of the channel's weights), y = fma(sum, scale, bias), then as
// in requant_u8.h. All cover the channels rounded up to `lanes`.
// y: output j at y + j * y_pixel, for j < columns; the same strides for `residual` (may be null).
struct DepthwiseU8Args {
  const uint8_t* const* pixels;
  const float* weights;
  const float *start, *scale, *bias;
  uint8_t* y;
  const uint8_t* residual;
  int64_t channels, columns, y_pixel;
  int64_t taps;  // of a general kernel
  RequantU8 out;
};

struct DepthwiseU8 {
  int32_t kernel, stride;  // square, along x; 0 = general
  int32_t outputs;         // per call
  int32_t lanes;
  void (*run)(const DepthwiseU8Args* args);
};
#define PW_KIND_DEPTHWISE_U8 "depthwise_u8"

}  // namespace pw
