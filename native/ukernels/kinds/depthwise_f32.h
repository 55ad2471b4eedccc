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
};

template <class T>
struct DepthwiseOf {
  int32_t kernel, stride;  // square, along x; 0 = general
  int32_t outputs;         // per call
  int32_t lanes;
  void (*run)(const DepthwiseArgs<T>* args);
};
using DepthwiseF32 = DepthwiseOf<float>;
#define PW_KIND_DEPTHWISE "depthwise_"  // and the form of the values
#define PW_KIND_DEPTHWISE_F32 PW_KIND_DEPTHWISE "f32"

}  // namespace pw
