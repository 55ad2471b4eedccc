// Kind pool_line_f32: a line of pooled outputs of a plane, the axes one after the other.
#pragma once
#include <cstdint>

#include "ukernels/kinds/pool_f32.h"

namespace pw {

// y[o] = scale[o] * sum, or max (NaN wins), over `rows` lines of `width` floats from x on, x_row floats apart, and over `taps` of
// what they make: tap k of output o is element o * stride + k * dilation of `line`, in which the lines lie from `left` on, with
// what stands for padding before and behind them.
struct PoolLineArgs {
  Pool op;
  const float* x;
  int64_t rows, x_row, width;
  float* line;  // room for `reach` floats and 32 more
  int64_t left, reach;
  int64_t taps, dilation, stride;
  float* y;
  int64_t outputs;
  const float* scale;  // sums only; 16 floats more may be read
};

struct PoolLineF32 {
  void (*run)(const PoolLineArgs* args);
};
#define PW_KIND_POOL_LINE_F32 "pool_line_f32"

}  // namespace pw
