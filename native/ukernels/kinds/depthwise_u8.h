// Kind depthwise_u8: a row of outputs of a depthwise convolution on u8, vectorised over channels.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// Channels go in blocks of `block`. Block b begins at channel b * block; the last one ends with the last channel, and so
// may overlap the one before it. Fewer channels than a block are one, of which the rest is neither read nor written.
//
// What is stored per channel of a block lies in two halves of block / 2, as interleaving within 128 bits leaves it:
// channel 8 q + r is element 4 q + r % 4 of half r / 4.
//
// rows: for each kernel row the input row that it meets, at column 0 and channel 0; for one outside of the image a row
// of zero points. outside: `channels` zero points. The first output's window begins at column `first`, which may be
// negative.
// packed: a record of (pairs + 3) * `block` words for each block: weights, start, scale, bias.
// weights: two in 16 bits for each pair and channel. A pair is two taps:
//   K x K:   rows 2 i and 2 i + 1 of column x, for each i and x; then, of the last row, columns x - 1 and x for even x, where
//            the weight of column -1 is 0. K is odd.
//   general: columns x and x + 1 for even x, of each row; the weight of a column behind the last is 0.
// Sums begin with start = -zero_of_x * (sum of the channel's weights) and are exact in 32 bits (as is each part of them);
// y = fma(float(sum), scale, bias), then as in requant_u8.h.
// y: output j at y + j * pixel, for j < columns; `residual` (may be null) lies like y.
struct DepthwiseU8Args {
  const uint8_t* const* rows;
  const uint8_t* outside;
  int64_t width, first;  // columns of the input
  int64_t channels, pixel;
  int64_t first_block, last_block;  // those to compute, [first, last)
  const int32_t* packed;
  uint8_t* y;
  const uint8_t* residual;
  int64_t columns;
  int64_t kernel_height, kernel_width, stride, dilation;  // along x; of a general kernel
  RequantU8 out;
};

struct DepthwiseU8 {
  int32_t kernel, stride;  // square, stride along x; 0 = general
  int32_t block;
  void (*run)(const DepthwiseU8Args* args);
};
#define PW_KIND_DEPTHWISE_U8 "depthwise_u8"

}  // namespace pw
