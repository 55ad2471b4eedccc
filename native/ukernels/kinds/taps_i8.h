// Kind taps_i8: one filter per channel over channels that lie side by side, with exact sums, for some neighbouring pixels.
#pragma once
#include <cstdint>

namespace pw {

// sums[i * sums_row + c] = start[c] + sum over taps t of x[t][i * x_step + c] * w(t, c) for c < n and i < pixels, which wraps
// around in 32 bits. What w and start are is said by `group`:
// 1: w s32, w(t, c) = w[t * row + c], and start[c].
// 4: w s8. Channels go in blocks of `block`, the last one ending with the last channel, so that it may overlap the one before
//    it; fewer channels than a block are one. Each block is a record of (taps / 4 + 1) * block numbers of 32 bits, 64-byte
//    aligned:
//    `block` starts, then for every four taps a word of four weights per channel, in the order of taps. Within a block lane l of
//    vector v holds the channels 16 l + 4 v to 16 l + 4 v + 3, as interleaving leaves them (slot_of_channel). `taps` is a
//    multiple of 4; what is beyond the filter's own meets weights of 0. With `sign`, x plus 128 is taken as u8, which `start`
//    must allow for.
struct TapsI8Args {
  const void* const* x;  // `taps` pointers to n bytes each, any alignment
  const void* packed;    // group 1: w; group 4: the records
  const int32_t* start;  // of group 1
  int64_t taps, row;
  int64_t pixels, x_step;  // bytes from a pixel to the next one
  int32_t* sums;           // with space for a whole block behind the last channel's begin
  int64_t sums_row;
  bool sign;     // the bytes are s8
  bool columns;  // group 4: x[4 k + j] + x_step is x[4 (k + 1) + j] for all taps but the last four: neighbours share columns
};

struct TapsI8 {
  int32_t group, block;
  void (*run)(const TapsI8Args* args, int64_t n);
};
#define PW_KIND_TAPS_I8 "taps_i8"

// Where channel c of a block stands in its record, for `group` 4.
constexpr int64_t slot_of_channel(int64_t c, int64_t block) { return c % 16 / 4 * (block / 4) + c / 16 * 4 + c % 4; }

}  // namespace pw
