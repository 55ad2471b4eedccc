// Kinds gemv_*: dot products of one vector with rows of a matrix as it lies, in f32, bound by the memory's bandwidth.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

// y[i] = x . w[i] for i < rows, w[i] = w + i * row_stride, each of `depth` numbers. Any alignment. W, X: how w and x lie
// in memory.
template <class W, class X>
struct GemvOf {
  int32_t rows;  // that are read side by side
  void (*run)(const W* w, int64_t row_stride, const X* x, int64_t depth, int64_t rows, float* y);
};
using GemvF32 = GemvOf<float, float>;
#define PW_KIND_GEMV "gemv_"  // and the form of W, with "_f32" behind it where X alone is float
#define PW_KIND_GEMV_F32 PW_KIND_GEMV "f32"

}  // namespace pw
