// Pooling of u8 over windows of taps that all lie inside the image, channels last.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// For each of `pixels` outputs: the largest q of tap_rows x tap_columns taps, as it is; or with S the exact sum of the
// taps, y = float(S + start) * scale, then as in requant_u8.h. The taps of a sum are at most 2^23.
// x: the first tap of the first pixel; x_*: bytes from one to the next.
struct PoolU8Args {
  const uint8_t* x;
  uint8_t* y;
  int64_t pixels, x_pixel, y_pixel;
  int64_t tap_rows, tap_columns, x_tap_row, x_tap_column;
  int64_t channels;  // contiguous, from x and y of each pixel on
  int32_t start;     // sum only: -taps * zero point, as are the next two
  float scale;
  RequantU8 out;
};

struct PoolU8 {
  void (*max)(const PoolU8Args* args);
  void (*sum)(const PoolU8Args* args);
};
#define PW_KIND_POOL_U8 "pool_u8"

}  // namespace pw
