// Kind dynamic_u8: rows of floats to u8 by a scale that each finds in itself, and the end of sums of their products by s8.
// Every operation is one IEEE operation in float32 with the named fused multiply-adds and no others, so that results are equal
// to the bit on every instruction set, apart from activations other than `clip`, whose last bit may differ.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// How a row is read: real = scale * (q - zero). A row with NaN or an infinity has the scale NaN.
struct RowScale {
  float scale;
  int32_t zero;
};

// A row of sums over q * w, w being s8 with a scale per column, as floats:
//   m = row.scale * scale[i], y = fma(float(sums[i] - row.zero * totals[i]), m, bias[i]) [+ residual[i]], act(y),
// where the integers wrap around in 32 bits. totals: the sum of each column of w. residual may be null.
struct RowEndF32Args {
  const int32_t *sums, *totals;
  const float *scale, *bias, *residual;
  float* y;
  int64_t columns;
  RowScale row;
  ActArgs act;
};

struct DynamicU8 {
  // From low = min(x, 0) and high = max(x, 0): scale = max(high / 255 - low / 255, 2^-126), r = 1 / scale,
  // zero = clamp(rint(-low * r), 0, 255), q[i] = clamp(rint(x[i] * r), -zero, 255 - zero) + zero, ties to even. What q holds of
  // a row whose scale is NaN is not said.
  RowScale (*quantise)(const float* x, int64_t n, uint8_t* q);
  void (*finish)(const RowEndF32Args* args);
};
#define PW_KIND_DYNAMIC_U8 "dynamic_u8"

}  // namespace pw
