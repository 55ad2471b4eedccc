// Reductions of a matrix along its rows or down its columns, and the normalised exponential of rows.
#pragma once
#include <cstdint>

namespace pw {

enum class Reduce : int32_t { sum, max, min };  // max, min: NaN wins

// x: rows x columns floats, x_row from one row to the next. Sums are taken in blocks, so that their rounding error
// grows slowly with the count, and multiplied by scale.
struct ReduceF32Args {
  Reduce op;
  const float* x;
  float* y;
  int64_t rows, columns, x_row;
  float scale;
};

struct ReduceF32 {
  void (*rows)(const ReduceF32Args* args);     // y[r] over all columns of row r
  void (*columns)(const ReduceF32Args* args);  // y[c] over all rows of column c
};
#define PW_KIND_REDUCE_F32 "reduce_f32"

struct SoftmaxF32 {
  // Rows of `columns` contiguous floats, one behind the other; y may be x. log: log_softmax.
  void (*run)(const float* x, float* y, int64_t rows, int64_t columns, bool log);
};
#define PW_KIND_SOFTMAX_F32 "softmax_f32"

}  // namespace pw
