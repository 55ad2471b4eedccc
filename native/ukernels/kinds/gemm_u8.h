// Kind gemm_u8: tiles of C = requantise(A * B) with A u8, B s8 and exact sums in s32, side by side on the same rows.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// Elements along the depth come in groups that fill a word of 32 bits: `group` = 4 (A u8, B s8) where the instruction
// set multiplies bytes, `group` = 2 (both widened to 16 bits) where it does not. Rows of A and of B are padded
// with zeros to whole words. A kernel with `most_step` > 1 reads tiles: `step` <= most_step words of several rows at once,
// `words` being a multiple of `step`. A tile of it has two halves, of rows that lie at one distance from each other, the same
// in both halves and at every tap: the first (tile_rows + 1) / 2 rows and the last as many, which overlap where `rows` is less
// than both. Of the pointers it reads those of rows 0 and 1, and of the second half's first row.
//
// a: taps * tile_rows pointers, tap-major with the kernel's full row count as stride: a[t * R + i] points to `words`
//    words of row i at tap t (rows >= `rows` may be any readable pointer), any alignment. With group 4 they may be u8
//    values where they lie; with group 2, and where a row is no whole number of words, they come from `stage`.
// columns: any number from 1. Every panel but the last has the kernel's full column count of them.
// b: packed panels, one behind the other; each has for each tap and each word the kernel's full column count of words, 64-byte
//    aligned.
// start: a s32 for each column of the panels, what the sums begin with: -zero_of_A * (sum of the column of B).
// y = fma(float(sum), scale[column], bias[column]), then as in requant_u8.h; full panels too.
// c, residual (may be null): row i at i * c_row bytes.
// sums: where it is not null the sums themselves are the result, row i at i * c_row numbers, full panels in width, and
// scale, bias, c and what follows are not read. With group 2 elements of A and B may then be any 16 bits whose sums of
// products wrap around in 32.
struct GemmU8Args {
  const void* const* a;
  const void* b;
  const int32_t* start;
  const float *scale, *bias;
  uint8_t* c;
  const uint8_t* residual;
  int32_t* sums;
  int64_t taps, words, step;
  int64_t rows, columns;
  int64_t tile_rows;  // as open() was told: `rows` or one more
  int64_t c_row;
  RequantU8 out;
};

struct GemmU8 {
  int32_t rows, columns;  // of the register tile
  int32_t group;          // elements per word
  void (*run)(const GemmU8Args* args);
  // One row as `run` reads it: `taps` runs of `depth` u8 side by side, then zeros up to `words` words.
  void (*stage)(const uint8_t* const* taps, int64_t count, int64_t depth, int64_t words, void* to);
  // Group 4: products of two neighbours are added up in 16 bits before they go on in 32. Two neighbours of B, the elements
  // 2j and 2j + 1 of a column, must not add up to more than 128 in size; 255 * 128 fits.
  bool narrow = false;
  int32_t most_step = 1;
  // May be null. A thread opens the shape of its tiles before it runs and closes it when it has done its part of the step:
  // the unit's registers would slow what else runs there.
  void (*open)(int64_t tile_rows, int64_t step) = nullptr;
  void (*close)() = nullptr;
};
#define PW_KIND_GEMM_U8 "gemm_u8"

}  // namespace pw
