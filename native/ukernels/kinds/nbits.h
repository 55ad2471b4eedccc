// Kind nbits: rows of weights of 4 or 8 bits, in blocks with a scale and a zero point, against one vector of floats.
#pragma once
#include <cstdint>

namespace pw {

// y[r] = sum over blocks b of scale[r * blocks + b] * sum over k of x[k] * (q[r, b, k] - zero[r * blocks + b]).
// w: `rows` rows of `blocks` blocks of `bytes` bytes; of 4 bits, the number in the low bits first. x: as `spread` has it.
struct NBitsArgs {
  const uint8_t* w;
  const float *scale, *zero, *x;
  float* y;
  int64_t rows, blocks, bytes;
};

struct NBits {
  int32_t lanes;  // numbers of a vector
  // Numbers of a vector x of `depth` in the order of the vectors that `run` takes, zeros where there are none: for each block
  // chunks_of(bytes) chunks, with 4 bits the numbers of even places, `lanes` of them, and then those of odd places.
  void (*spread)(const float* x, int64_t depth, int64_t blocks, int64_t bytes, bool four, float* to);
  void (*run4)(const NBitsArgs* args);
  void (*run8)(const NBitsArgs* args);
};
#define PW_KIND_NBITS "nbits"

}  // namespace pw
