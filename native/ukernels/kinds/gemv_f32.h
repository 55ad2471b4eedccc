// Kinds gemv_*: dot products of one vector with rows of a matrix as it lies, in f32, bound by the memory's bandwidth.
#pragma once
#include <cstdint>

#include "ukernels/kinds/bf16.h"

namespace pw {

// y[i] = x . w[i] for i < rows, w[i] = w + i * row_stride, each of `depth` numbers. Any alignment. W, X: how w and x lie
// in memory.
template <class W, class X>
struct GemvOf {
  int32_t rows;  // that are read side by side
  void (*run)(const W* w, int64_t row_stride, const X* x, int64_t depth, int64_t rows, float* y);
};
using GemvF32 = GemvOf<float, float>;
#define PW_KIND_GEMV_F32 "gemv_f32"
#define PW_KIND_GEMV_BF16 "gemv_bf16"          // W and X are Bf16
#define PW_KIND_GEMV_BF16_F32 "gemv_bf16_f32"  // W is Bf16, X float

}  // namespace pw
