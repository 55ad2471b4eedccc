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

struct TapsF32 {
  void (*run)(const TapsArgs* args);
};
#define PW_KIND_TAPS_F32 "taps_f32"

}  // namespace pw
