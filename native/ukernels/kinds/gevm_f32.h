// Kind gevm_f32: a row vector times a matrix as it lies, bound by the memory's bandwidth.
#pragma once
#include <cstdint>

namespace pw {

// y[j] += sum of x[k] * b[k * row_stride + j] over k < depth, for j < columns. Any alignment.
struct GevmF32 {
  int32_t rows;  // of b that are read side by side
  void (*run)(const float* x, const float* b, int64_t row_stride, int64_t depth, int64_t columns, float* y);
};
#define PW_KIND_GEVM_F32 "gevm_f32"

}  // namespace pw
