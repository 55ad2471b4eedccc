// Kinds depthwise_*: a few neighbouring outputs of a depthwise convolution, vectorised over channels,
// computed in f32.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"
#include "ukernels/kinds/activation.h"

namespace pw {

// pixels: for each kernel row the input pixels that `outputs` neighbouring outputs need, `pixel_columns` pointers a row
// ((outputs - 1) * stride + kernel of them; for a general kernel outputs == 1 and one pointer per tap). Pixels outside
// the image, and those of outputs that are not stored, point to zeros.
// weights: for each vector of channels taps * lanes floats, then the next; bias the same with one row. Both cover the
// channels rounded up to `lanes`.
// y: output j at y + j * y_pixel, for j < columns; the same strides for `residual` (may be null).
// T: how values lie in memory.
template <class T>
struct DepthwiseArgs {
  const T* const* pixels;
  const float* weights;
  const float* bias;
  T* y;
  const T* residual;
  int64_t channels, columns, y_pixel;
  int64_t taps;  // of a general kernel
  ActArgs act;
  // Of `regular`, instead of `pixels`: kernel rows [top, top + rows) lie inside of the image, and of the pixel columns all
  // but `left` first and `right` last ones, each at most kernel / 2 of them. x: the first of the pixels inside; x_row and
  // x_pixel: floats to the next. outside: zeros, as many as there are channels.
  const T* x;
  const T* outside;
  int64_t x_row, x_pixel, top, rows, left, right;
};

template <class T>
struct DepthwiseOf {
  int32_t kernel, stride;  // square, along x; 0 = general
  int32_t outputs;         // per call
  int32_t lanes;
  void (*run)(const DepthwiseArgs<T>* args);
  void (*regular)(const DepthwiseArgs<T>* args);  // the same where pixels lie at one distance and all outputs are wanted
};
using DepthwiseF32 = DepthwiseOf<float>;
#define PW_KIND_DEPTHWISE "depthwise_"  // and the form of the values
#define PW_KIND_DEPTHWISE_F32 PW_KIND_DEPTHWISE "f32"

}  // namespace pw
