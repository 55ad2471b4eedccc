// Functions of two numbers over rows, with broadcasting, and the multiply-add of a normalisation, computed in f32.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

// prelu: a where a >= 0, else a * b. minimum, maximum: NaN wins.
enum class Binary : int32_t { add, sub, mul, div, minimum, maximum, pow, prelu };

// y[r * columns + c] = clamp(op(a, b)) with
//   a = a[r * a_row + (a_scalar ? 0 : c)], b likewise; at most one of them is scalar.
// y may be a or b where that one is not broadcast (row stride `columns`, not scalar).
// T: how values lie in memory.
template <class T>
struct BinaryArgs {
  Binary op;
  const T *a, *b;
  T* y;
  int64_t rows, columns;
  int64_t a_row, b_row;
  bool a_scalar, b_scalar;
  float low, high;
};

template <class T>
struct BinaryOf {
  void (*run)(const BinaryArgs<T>* args);
};
using BinaryF32 = BinaryOf<float>;
#define PW_KIND_BINARY "binary_"  // and the form of the values
#define PW_KIND_BINARY_F32 PW_KIND_BINARY "f32"

// y[r * columns + c] = clamp(x[r * columns + c] * scale[i] + shift[i]), i = r with `per_row`, else c. y may be x.
template <class T>
struct MaddArgs {
  const T* x;
  const float *scale, *shift;
  T* y;
  int64_t rows, columns;
  bool per_row;
  float low, high;
};

template <class T>
struct MaddOf {
  void (*run)(const MaddArgs<T>* args);
};
using MaddF32 = MaddOf<float>;
#define PW_KIND_MADD "madd_"  // and the form of the values
#define PW_KIND_MADD_F32 PW_KIND_MADD "f32"

}  // namespace pw
