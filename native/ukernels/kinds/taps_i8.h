// Kind taps_i8: one filter per channel over channels that lie side by side, with exact sums.
#pragma once
#include <cstdint>

namespace pw {

// sums[c] = start[c] + sum over taps t of x[t][c] * w[t * w_row + c] for c < n, which wraps around in 32 bits.
struct TapsI8Args {
  const void* const* x;  // `taps` pointers to n bytes each, any alignment
  const int32_t *w, *start;
  int64_t taps, w_row;
  int32_t* sums;
  bool sign;  // the bytes are s8
};

struct TapsI8 {
  void (*run)(const TapsI8Args* args, int64_t n);
};
#define PW_KIND_TAPS_I8 "taps_i8"

}  // namespace pw
