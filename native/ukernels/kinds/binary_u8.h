// Functions of two u8 values over rows, with broadcasting.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

enum class BinaryQuantised : int32_t { add, sub, mul };

// y[r * columns + c] of a[r * a_row + c] and b[r * b_row + (b_scalar ? 0 : c)], with the real value
//   add: fma(float(b - b_zero), b_scale, float(a - a_zero) * a_scale), the product rounded
//   sub: the same with -b_scale
//   mul: float((a - a_zero) * (b - b_zero)) * a_scale, where a_scale is the product of both scales
// then as in requant_u8.h. y may be a, and b where that is not broadcast.
struct BinaryU8Args {
  BinaryQuantised op;
  const uint8_t *a, *b;
  uint8_t* y;
  int64_t rows, columns;
  int64_t a_row, b_row;
  bool b_scalar;
  int32_t a_zero, b_zero;
  float a_scale, b_scale;
  RequantU8 out;
};

struct BinaryU8 {
  void (*run)(const BinaryU8Args* args);
};
#define PW_KIND_BINARY_U8 "binary_u8"

}  // namespace pw
