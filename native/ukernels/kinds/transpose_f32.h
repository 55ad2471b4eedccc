// Transposition of a matrix of floats.
#pragma once
#include <cstdint>

namespace pw {

// y[c * y_row + r] = x[r * x_row + c]; x and y do not overlap. Only the elements named are read and written.
struct TransposeF32 {
  void (*run)(const float* x, int64_t x_row, float* y, int64_t y_row, int64_t rows, int64_t columns);
};
#define PW_KIND_TRANSPOSE_F32 "transpose_f32"

}  // namespace pw
