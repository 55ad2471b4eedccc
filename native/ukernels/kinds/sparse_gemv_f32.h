// Kind sparse_gemv_f32: dot products of a few vectors with rows of a matrix that keeps its zeros as bits.
#pragma once
#include <cstdint>

namespace pw {

// y[r * y_row + i] = x[r] . w[i] for i < outputs, r < rows; rows <= 4 vectors x[r] = x + r * x_row of `depth` floats.
// masks: ceil(depth / 8) bytes per output, the lowest bit first: which weights are there. values: those, output after
// output, from starts[i] on; 16 more floats can be read behind the last.
struct SparseGemvF32Args {
  const uint8_t* masks;
  const float* values;
  const int64_t* starts;
  const float* x;
  float* y;
  int64_t x_row, y_row, depth, outputs, rows;
};

struct SparseGemvF32 {
  void (*run)(const SparseGemvF32Args* args);
};
#define PW_KIND_SPARSE_GEMV_F32 "sparse_gemv_f32"

}  // namespace pw
