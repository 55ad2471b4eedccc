// Kinds gemm_bf16 and gemm_f16: C = act(sum over taps of A_tap * B + bias + residual) on a unit that multiplies numbers of
// 16 bits. bf16: A in one part (bf16), in two (bf16x2: three products, all but lo*lo) or in three (bf16x3: six products, all
// whose parts' numbers, counted from 0, add up to 2 or less). f16: in one part, multiplied by `scale` behind the sums.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

enum class StoredF32 : int32_t { f32, half, bf16x2 };  // half: bf16 or f16, as the kind says

// A walk: `rows` positions, cut into `tiles` tiles of R or R - 1 positions, R = ceil(rows / tiles) <= 16, the shorter
// ones first. A tile reads R positions (a shorter one reads the next one's first too), so never behind the walk.
//
// a: position i at tap t begins at a + offsets[t] + i * a_row, in bytes; there `chunks` runs of `depth` elements lie one
//    after another. Part p of an element lies p * a_part bytes behind its first.
// b: panels of 32 columns, b_panel bytes from one to the next; in each per tap, chunk and part two blocks of 16 columns, each
//    depth/2 rows of 16 pairs: element [k/2][n][k%2]. 64-byte aligned, zeros past the last column.
// c: position i is stored where i % pitch < width, at c + i / pitch * c_line + i % pitch * c_row bytes; the lo of a bf16x2
//    element lies c_lo bytes behind its hi. The same strides and form for `residual` (may be null).
// bias: a float for each column of the panels. scale: 32 powers of two of the first panel, b_panel bytes from one panel's to
//    the next one's, of gemm_f16 alone.
struct GemmHalfArgs {
  const void* a;
  const int64_t* offsets;
  int64_t a_row, a_part;
  int64_t taps, chunks;
  const void* b;
  int64_t b_panel;
  int64_t rows, tiles;
  int64_t first, last;  // the tiles of this call
  int64_t columns;      // of all panels, 1 or more
  const float *bias, *scale;
  void* c;
  const void* residual;
  int64_t c_line, c_row, c_lo;
  int64_t pitch, width;
  ActArgs act;
  StoredF32 form;
  int32_t parts;  // 1 to 3
  int32_t depth;  // even, 2 to 32
};

// Every thread opens the shape of its tiles before it runs, again where `rows / tiles` or `depth` change, and closes it
// after its last run of the step: the unit's registers would slow what else runs there.
struct GemmHalf {
  int32_t parts;  // at most
  void (*open)(int64_t tile_rows, int64_t depth);
  void (*run)(const GemmHalfArgs* args);
  void (*close)();
};
#define PW_KIND_GEMM_BF16 "gemm_bf16"
#define PW_KIND_GEMM_F16 "gemm_f16"

constexpr int kHalfColumns = 32, kHalfDepth = 32, kHalfRows = 16;

}  // namespace pw
