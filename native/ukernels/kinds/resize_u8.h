// Resampling of one output row of bytes, in integers.
#pragma once
#include <cstdint>

namespace pw {

// With mix(a, b, w) = a + ((b - a) * w + 2^14 >> 15), whose results lie between a and b, and every byte q as 128 * q:
//   row[x] = mix(above[x], below[x], below_weight)
//   y = mix(row[left], row[right], right_weight) + 64 >> 7
// left, right: offsets from the start of a row, per output pixel. Weights: from 0 to 32767, in steps of 2^-15.
struct ResizeU8Args {
  const uint8_t *above, *below;  // input rows
  int16_t* row;                  // scratch memory, with room for 8 more
  int64_t length;                // of these three
  uint8_t* y;
  int64_t pixels;    // of the output row
  int64_t channels;  // contiguous, dense in y
  const int64_t *left, *right;
  const int16_t* right_weight;
  int16_t below_weight;
};

struct ResizeU8 {
  void (*bilinear)(const ResizeU8Args* args);
  // Pixel p of y is that at x + from[p].
  void (*nearest)(const uint8_t* x, const int64_t* from, uint8_t* y, int64_t pixels, int64_t channels);
};
#define PW_KIND_RESIZE_U8 "resize_u8"

}  // namespace pw
