// Kind gemv_u8: exact dot products of one u8 vector with rows of an s8 matrix as it lies, bound by the memory's
// bandwidth, and the end of a row of sums.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// y[i] = fma(float(sums[i]), scale[i], bias[i]), then as in requant_u8.h; residual may be null.
struct RowEndU8Args {
  const int32_t* sums;
  const float *scale, *bias;
  const uint8_t* residual;
  uint8_t* y;
  int64_t columns;
  RequantU8 out;
};

struct GemvU8 {
  int32_t rows;  // that are read side by side
  // sums[i] = start[i] + x . w[i] for i < rows, w[i] = w + i * row_stride, each of `depth` bytes. Any alignment.
  // Neighbours 2j and 2j + 1 of a row of w add up to at most 128 in size, as those of a `narrow` gemm_u8.
  void (*run)(const int8_t* w, int64_t row_stride, const uint8_t* x, int64_t depth, int64_t rows, const int32_t* start,
              int32_t* sums);
  void (*finish)(const RowEndU8Args* args);
};
#define PW_KIND_GEMV_U8 "gemv_u8"

}  // namespace pw
