// Kinds convert_bf16 and convert_f16: contiguous floats to numbers of 16 bits and back. Kind split_bf16: to two or three
// parts in bf16, and back from two. See DType::bf16x2.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

// To the nearest, ties to even; NaN stays NaN; denormals are kept; what rounds beyond the largest number is infinite.
struct Convert {
  void (*narrow)(const float* x, uint16_t* y, int64_t n);
  void (*widen)(const uint16_t* x, float* y, int64_t n);
};
#define PW_KIND_CONVERT "convert_"

// Part p of x[i] goes to y[p * step + i]: bf16 of what the parts before it leave, 0 where the first is infinite or NaN.
struct SplitBf16 {
  void (*split)(const float* x, uint16_t* y, int64_t step, int parts, int64_t n);
  void (*join)(const uint16_t* hi, const uint16_t* lo, float* y, int64_t n);
};
#define PW_KIND_SPLIT_BF16 "split_bf16"

}  // namespace pw
