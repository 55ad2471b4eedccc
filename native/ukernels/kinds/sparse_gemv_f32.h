// Kind sparse_gemv_f32: dot products of a few vectors with rows of a matrix without its zeros.
#pragma once
#include <cstdint>

#include "ukernels/kinds/spmm_f32.h"

namespace pw {

// y[r * y_row + i] = x[r] . w[i] for i < outputs, r < rows; rows <= 4 vectors x[r] = x + r * x_row of `depth` floats.
// The weights of output i are those from starts[i] on, up to starts[i + 1]:
// - of a kernel with `pairs`, pairs: values with their places in x;
// - of one without, values: 16 more floats can be read behind the last; masks: ceil(depth / 8) bytes per output, the lowest
//   bit first, say which weights are there.
struct SparseGemvF32Args {
  const SparseWeight* pairs;
  const uint8_t* masks;
  const float* values;
  const int64_t* starts;
  const float* x;
  float* y;
  int64_t x_row, y_row, depth, outputs, rows;
};

struct SparseGemvF32 {
  bool pairs;
  void (*run)(const SparseGemvF32Args* args);
};
#define PW_KIND_SPARSE_GEMV_F32 "sparse_gemv_f32"

}  // namespace pw
