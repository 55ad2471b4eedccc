// Kind linear: numbers to integers and back by scale and zero point, the range of numbers, and what becomes of exact sums of
// products of integers. Every operation is one IEEE operation in float32, so that results are equal to the bit everywhere.
#pragma once
#include <cstdint>

namespace pw {

// What integers lie in memory as.
enum class Stored8 : int32_t { u8, i8, u16, i16, i32 };

// One scale and zero point for all, or, with `each`, one per element.
struct LinearArgs {
  const float* scale;
  const int32_t* zero;
  bool each;
  int32_t low, high;  // of the integers
  int32_t drop;       // bits by which the quotient's significand is rounded: 0, 13 (f16), 16 (bf16)
};

// A row of sums: v = sums[i] - zeros[i] * row_sum - totals[i] * row_zero, which wraps around in 32 bits; zeros and totals may
// be null. Then v itself, float(v) * scale, or clamp(rint(float(v) * scale) + zero, low, high) with the product rounded first;
// NaN gives low.
struct SumsArgs {
  const int32_t *sums, *zeros, *totals;
  int32_t row_sum, row_zero;
  const float* scale;  // null: v itself
  bool each;           // a scale per element
  bool bytes;          // rounded to integers of 8 bits, else float
  int32_t zero, low, high;
};

struct Linear {
  // y[i] = clamp(rint(x[i] / scale) + zero, low, high), ties to even, as integers of `width` bytes (1 or 2); NaN gives low.
  void (*quantise)(const LinearArgs* args, const float* x, void* y, int32_t width, int64_t n);
  // y[i] = float(x[i] - zero) * scale.
  void (*dequantise)(const LinearArgs* args, const void* x, Stored8 type, float* y, int64_t n);
  // The smaller of *low and all of x, and the larger of *high and all of x; a NaN is neither.
  void (*range)(const float* x, int64_t n, float* low, float* high);
  void (*finish)(const SumsArgs* args, void* y, int64_t n);
};
#define PW_KIND_LINEAR "linear"

}  // namespace pw
