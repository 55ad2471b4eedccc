// Reductions of a matrix along its rows or down its columns, computed in f32, and the normalised exponential of rows.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

enum class Reduce : int32_t { sum, max, min };  // max, min: NaN wins

// x: rows x columns elements, x_row from one row to the next; T: how they lie in memory. Sums are taken in blocks, so
// that their rounding error grows slowly with the count, and multiplied by scale.
template <class T>
struct ReduceArgs {
  Reduce op;
  const T* x;
  T* y;
  int64_t rows, columns, x_row;
  float scale;
};

template <class T>
struct ReduceOf {
  void (*rows)(const ReduceArgs<T>* args);     // y[r] over all columns of row r
  void (*columns)(const ReduceArgs<T>* args);  // y[c] over all rows of column c
};
using ReduceF32 = ReduceOf<float>;
#define PW_KIND_REDUCE "reduce_"  // and the form of the values
#define PW_KIND_REDUCE_F32 PW_KIND_REDUCE "f32"

struct SoftmaxF32 {
  // Rows of `columns` contiguous floats, one behind the other; y may be x. log: log_softmax.
  void (*run)(const float* x, float* y, int64_t rows, int64_t columns, bool log);
  // Down each of `columns` columns that lie side by side, `step` from one row to the next in x and in y; y may be x.
  void (*columns)(const float* x, float* y, int64_t rows, int64_t columns, int64_t step, bool log);
};
#define PW_KIND_SOFTMAX_F32 "softmax_f32"

}  // namespace pw
