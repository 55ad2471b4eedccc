// Bilinear resampling of one output row.
#pragma once
#include <cstdint>

namespace pw {

// y = (1 - below_weight) * mix(above) + below_weight * mix(below), where mix of output pixel p is
// (1 - right_weight[p]) * row[left[p]] + right_weight[p] * row[right[p]].
// left, right: offsets in floats from the start of the row.
struct ResizeF32Args {
  const float *above, *below;  // input rows
  float* y;
  int64_t pixels;    // of the output row
  int64_t channels;  // contiguous, dense in y
  const int64_t *left, *right;
  const float* right_weight;
  float below_weight;
};

struct ResizeF32 {
  void (*bilinear)(const ResizeF32Args* args);
};
#define PW_KIND_RESIZE_F32 "resize_f32"

}  // namespace pw
