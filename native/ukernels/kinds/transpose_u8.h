// Transposition of a matrix of bytes.
#pragma once
#include <cstdint>

namespace pw {

// y[c * y_row + r] = x[r * x_row + c]; x and y do not overlap. Only the elements named are read and written.
struct TransposeU8 {
  void (*run)(const uint8_t* x, int64_t x_row, uint8_t* y, int64_t y_row, int64_t rows, int64_t columns);
};
#define PW_KIND_TRANSPOSE_U8 "transpose_u8"

}  // namespace pw
