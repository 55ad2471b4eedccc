// Pooling over windows of taps that all lie inside the image.
#pragma once
#include <cstdint>

namespace pw {

enum class Pool : int32_t { max, sum };

// For each of `pixels` outputs: y = scale * sum, or max (NaN wins), over tap_rows x tap_columns taps.
// x: the first tap of the first pixel; x_*: floats from one to the next.
struct PoolF32Args {
  Pool op;
  const float* x;
  float* y;
  int64_t pixels, x_pixel, y_pixel;
  int64_t tap_rows, tap_columns, x_tap_row, x_tap_column;
  int64_t channels;  // channels: contiguous, from x and y of each pixel on. row: not used
  float scale;       // sum only
};

struct PoolF32 {
  void (*channels)(const PoolF32Args* args);  // channels last
  void (*row)(const PoolF32Args* args);       // one channel, y_pixel == 1
};
#define PW_KIND_POOL_F32 "pool_f32"

}  // namespace pw
