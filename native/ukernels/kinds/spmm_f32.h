// Kind spmm_f32: sparse weights times a few vectors of neighbouring pixels, channels first.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// A weight that is not zero, and how many floats behind a pixel its input lies.
struct SparseWeight {
  float value;
  int32_t offset;
};

// y[o][p] = act(bias[o] + sum over the weights of output o of value * x[p + offset] + residual[o][p]).
//
// x, y, residual: per vector its first pixel (of the first output); outputs are `y_row` floats apart. residual may be
// null. A whole vector of x can be read at every offset; `valid` lanes of each are stored. Vectors may overlap.
// weights: those of the first output, then of the next; counts: how many each output has.
struct SpmmF32Args {
  const float* const* x;
  float* const* y;
  const float* const* residual;
  const SparseWeight* weights;
  const int32_t* counts;
  const float* bias;
  int64_t outputs, y_row;
  int64_t vectors, valid;
  ActArgs act;
};

struct SpmmF32 {
  int32_t lanes;    // pixels of a vector
  int32_t vectors;  // most of them per call
  void (*run)(const SpmmF32Args* args);
};
#define PW_KIND_SPMM_F32 "spmm_f32"

}  // namespace pw
