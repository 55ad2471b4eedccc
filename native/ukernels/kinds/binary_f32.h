// Functions of two floats over rows, with broadcasting, and the multiply-add of a normalisation.
#pragma once
#include <cstdint>

namespace pw {

// prelu: a where a >= 0, else a * b. minimum, maximum: NaN wins.
enum class Binary : int32_t { add, sub, mul, div, minimum, maximum, pow, prelu };

// y[r * columns + c] = clamp(op(a, b)) with
//   a = a[r * a_row + (a_scalar ? 0 : c)], b likewise; at most one of them is scalar.
// y may be a or b where that one is not broadcast (row stride `columns`, not scalar).
struct BinaryF32Args {
  Binary op;
  const float *a, *b;
  float* y;
  int64_t rows, columns;
  int64_t a_row, b_row;
  bool a_scalar, b_scalar;
  float low, high;
};

struct BinaryF32 {
  void (*run)(const BinaryF32Args* args);
};
#define PW_KIND_BINARY_F32 "binary_f32"

// y[r * columns + c] = clamp(x[r * columns + c] * scale[i] + shift[i]), i = r with `per_row`, else c. y may be x.
struct MaddF32Args {
  const float *x, *scale, *shift;
  float* y;
  int64_t rows, columns;
  bool per_row;
  float low, high;
};

struct MaddF32 {
  void (*run)(const MaddF32Args* args);
};
#define PW_KIND_MADD_F32 "madd_f32"

}  // namespace pw
