// Rows of floats times a number each, added up: a filter along the row that the vectors lie in.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// y[i] = act(bias + sum of weights[s] * sources[s][i] in their order), i < n.
// y, sources: up to kTapsBlock floats behind the n may be read and written.
struct TapsArgs {
  const float* const* sources;
  const float* weights;
  float* y;
  int64_t count, n;
  float bias;
  ActArgs act;
};
constexpr int64_t kTapsBlock = 64;

// Several such sums over the same sources: sum o with weights + o * weights_step, bias[o] (not TapsArgs::bias), y + o * y_step.
struct TapsSums {
  int64_t sums;  // 1 to kTapsSums
  int64_t weights_step, y_step;
  const float* bias;
};
constexpr int64_t kTapsSums = 4;

struct TapsF32 {
  void (*run)(const TapsArgs* args);
  void (*run_sums)(const TapsArgs* args, const TapsSums* sums);
};
#define PW_KIND_TAPS_F32 "taps_f32"

}  // namespace pw
