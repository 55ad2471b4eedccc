// Sums of columns of a product that fall on the same output: the second half of a transposed convolution by
// matrix product.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// `run` neighbouring outputs, `at` floats from the start of their pixel, that are reached by the same `count` sources;
// source s holds `run` floats for the first pixel.
struct Col2imSegment {
  const float* const* sources;
  int64_t count, at, run;
};

// y[p * y_step + at + j] = act(bias[j] + sum of sources[s][p * step + j] in their order + residual there), for p < pixels, the
// segments of a pixel, j < run.
// Segments lie one behind the other: each begins where the one before it ends; y_step is what they cover, unless pixels is 1.
// sources, bias: up to a vector may be read behind their ends, whatever is there.
// y, residual: `room` floats from y on are the caller's; those behind the last output may be overwritten.
struct Col2imArgs {
  const Col2imSegment* segments;
  const float* bias;
  const float* residual;  // or null
  float* y;
  int64_t segment_count, step, y_step, pixels, room;
  ActArgs act;
};

struct Col2imF32 {
  void (*run)(const Col2imArgs* args);
};
#define PW_KIND_COL2IM_F32 "col2im_f32"

}  // namespace pw
