// Kind convert_bf16: contiguous floats to bf16 or to two or three parts of it, and back. See DType::bf16x2.
#pragma once
#include <cstdint>

#include "ukernels/kinds/bf16.h"

namespace pw {

// To the nearest, ties to even; NaN stays NaN; denormals are kept. Part p of x[i] goes to y[p * step + i]: bf16 of what
// the parts before it leave, 0 where the first is infinite or NaN.
struct ConvertBf16 {
  void (*narrow)(const float* x, uint16_t* y, int64_t n);
  void (*split)(const float* x, uint16_t* y, int64_t step, int parts, int64_t n);
  void (*widen)(const uint16_t* x, float* y, int64_t n);
  void (*join)(const uint16_t* hi, const uint16_t* lo, float* y, int64_t n);
};
#define PW_KIND_CONVERT_BF16 "convert_bf16"

}  // namespace pw
