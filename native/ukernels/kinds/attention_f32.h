// Kind attention_f32: a row of scores between the two products of attention, and the rows around them.
#pragma once
#include <cstdint>

namespace pw {

// The scores of `n` keys in a row become exp(s - most), s = softcap(x * scale) + add, and those before `first` and from `last`
// on become 0 (0 <= first <= last <= n).
// x: has room for 16 floats behind the n-th, which are overwritten.
// add: what is added to each of the n scores, or null. seen: not 0 where a key takes part, or null.
// softcap: 0, or c of c * tanh(x / c).
// most, total: the largest score of this row and the sum of its exponentials so far; minus infinity and 0 before the first.
// factor: out, by which what was summed up before is to be multiplied.
struct AttentionRowArgs {
  float* x;
  const float* add;
  const uint8_t* seen;
  int64_t n, first, last;
  float scale, softcap;
  float most, total, factor;
};

struct AttentionF32 {
  void (*row)(AttentionRowArgs* args);
  // y[i] = x[i] * factor for n floats; y may be x.
  void (*scale)(const float* x, float factor, float* y, int64_t n);
  // y[i] += x[i] * factor for n floats.
  void (*add)(const float* x, float factor, float* y, int64_t n);
  // (a, b) -> (a cos - b sin, a sin + b cos) for `half` pairs: a = x[i] and b = x[half + i], or x[2 i] and x[2 i + 1].
  void (*turn)(const float* x, const float* cos, const float* sin, float* y, int64_t half);
  void (*turn_pairs)(const float* x, const float* cos, const float* sin, float* y, int64_t half);
};
#define PW_KIND_ATTENTION_F32 "attention_f32"

}  // namespace pw
