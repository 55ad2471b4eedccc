// Pooling over windows of taps that all lie inside the image, computed in f32.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

enum class Pool : int32_t { max, sum };

// For each of `pixels` outputs: y = scale * sum, or max (NaN wins), over tap_rows x tap_columns taps.
// x: the first tap of the first pixel; x_*: elements from one to the next. T: how values lie in memory.
template <class T>
struct PoolArgs {
  Pool op;
  const T* x;
  T* y;
  int64_t pixels, x_pixel, y_pixel;
  int64_t tap_rows, tap_columns, x_tap_row, x_tap_column;
  int64_t channels;  // channels: contiguous, from x and y of each pixel on. row: not used
  float scale;       // sum only
};

template <class T>
struct PoolOf {
  void (*channels)(const PoolArgs<T>* args);  // channels last
  void (*row)(const PoolArgs<T>* args);       // one channel, y_pixel == 1
};
using PoolF32 = PoolOf<float>;
#define PW_KIND_POOL "pool_"  // and the form of the values
#define PW_KIND_POOL_F32 PW_KIND_POOL "f32"

}  // namespace pw
