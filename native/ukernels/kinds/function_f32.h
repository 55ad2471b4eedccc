// Functions of one float that no layer applies to its results: trigonometric and hyperbolic ones and their inverses.
#pragma once
#include <cstdint>

namespace pw {

// y = f(x) over n contiguous elements; y may be x.
struct FunctionF32 {
  void (*run)(const float* x, float* y, int64_t n);
};
// A kind for each function: this, and the layer kind that it computes.
#define PW_KIND_FUNCTION_F32 "function_f32_"

}  // namespace pw
