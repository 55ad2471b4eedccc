// Kind nbits: rows of weights of 4 or 8 bits, in blocks with a scale and a zero point, against one vector of floats, and the
// floats that they stand for.
#pragma once
#include <cstdint>

namespace pw {

// Rows of weights as they lie: `blocks` blocks of `words` words of 32 bits, which hold 8 numbers of 4 bits or 4 of 8, the first in
// the low bits. A vector of `lanes` words has whole blocks, or a block has whole vectors. Any alignment.
// zero: null where it is the middle (8, 128); else floats, one for each block of each row, or numbers of 4 or 8 bits, each row of
// them in whole bytes.
struct NBitsWeights {
  const uint8_t* w;
  const float* scale;
  const void* zero;
  bool floats;
  int64_t blocks, words;
};

// y[r] = sum over blocks b of scale[r, b] * sum over k of x[k] * (q[r, b, k] - zero[r, b]) for `rows` rows from `first` on.
// x: as `spread` has it.
struct NBitsArgs {
  NBitsWeights weights;
  const float* x;
  float* y;
  int64_t first, rows;
};

// (q - zero) * scale of `count` blocks from `block` on of `columns` rows of weights from `first` on, turned: number k of row n goes
// to to[k * stride + n]. columns: at most `lanes`; what is written behind them, up to `lanes`, is any number.
struct NBitsUnpackArgs {
  NBitsWeights weights;
  int64_t first, columns, block, count;
  float* to;
  int64_t stride;
};

struct NBits {
  int32_t lanes;
  // `depth` numbers in the order of the vectors that `run` takes, zeros where there are none. For each vector of `lanes` of the
  // `words` words of a row: minus the sum of what meets each word, then what meets the first number of each word, divided by
  // what the number counts where it lies in the word (1, 16, ...; the last number is moved down first), and so on.
  void (*spread)(const float* x, int64_t depth, int64_t words, bool four, float* to);
  void (*run4)(const NBitsArgs* args);
  void (*run8)(const NBitsArgs* args);
  void (*unpack4)(const NBitsUnpackArgs* args);
  void (*unpack8)(const NBitsUnpackArgs* args);

  bool takes(int64_t words, bool four) const {
    return words > 0 && (words % lanes == 0 || (lanes % words == 0 && lanes / words <= (four ? 8 : 4)));
  }
  // Floats of `spread` for so many words of a row.
  int64_t spread_floats(int64_t words, bool four) const { return (words + lanes - 1) / lanes * lanes * ((four ? 8 : 4) + 1); }
};
#define PW_KIND_NBITS "nbits"

}  // namespace pw
