// Kind gemv_f32: dot products of one vector with rows of a matrix as it lies, bound by the memory's bandwidth.
#pragma once
#include <cstdint>

namespace pw {

// y[i] = x . w[i] for i < rows, w[i] = w + i * row_stride, each of `depth` floats. Any alignment.
struct GemvF32 {
  int32_t rows;  // that are read side by side
  void (*run)(const float* w, int64_t row_stride, const float* x, int64_t depth, int64_t rows, float* y);
};
#define PW_KIND_GEMV_F32 "gemv_f32"

}  // namespace pw
