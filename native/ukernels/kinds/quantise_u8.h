// Floats to bytes and back.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// real = scale * (q - out.zero); `out` holds what requant_u8.h says, without activation and residual.
struct QuantiseU8Args {
  float scale;
  RequantU8 out;
};

// rows x columns elements, rows x_row and y_row elements apart; x and y do not overlap, only the elements named are read
// and written.
struct QuantiseU8 {
  // q = rint(clamp(x * out.inverse, out.low, out.high)) + out.zero, and out.zero for a NaN.
  void (*quantise)(const QuantiseU8Args* args, const float* x, int64_t x_row, uint8_t* y, int64_t y_row, int64_t rows,
                   int64_t columns);
  // y = scale * float(q - out.zero), the product rounded once.
  void (*dequantise)(const QuantiseU8Args* args, const uint8_t* x, int64_t x_row, float* y, int64_t y_row, int64_t rows,
                     int64_t columns);
};
#define PW_KIND_QUANTISE_U8 "quantise_u8"

}  // namespace pw
