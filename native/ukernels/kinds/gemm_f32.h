// Kind gemm_f32: tiles of C = act(sum over taps of A_tap * B + bias + residual), side by side on the same rows: the core of
// every matrix layer.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// One call computes `rows` x `columns` outputs (rows <= the kernel's rows), panel by panel: every one but the last has the
// kernel's full column count.
//
// a: taps * tile_rows pointers, tap-major with the kernel's full row count as stride: a[t * R + i] points to depth
//    consecutive floats of row i at tap t (rows >= `rows` may be any readable pointer).
// b: packed panels, b_panel floats from one to the next; each has for each tap and each k the kernel's full column count of
//    floats, aligned to the kernel's vector.
// c: row i, column group j (16 columns): c + i * c_row + j * c_group; the same strides for `residual` (may be null).
// bias: a float for each column of the panels, or null.
// first: start from bias (else from what c holds). last: add the residual, apply the activation.
// ahead_floats: so many floats of each panel, from `ahead` floats behind its start on, will be read next: they are fetched into L2.
// index: of an indexed kernel alone: row k of B multiplies a[i][index[k]], not a[i][k]; taps is 1, and there is one panel.
struct GemmF32Args {
  const float* const* a;
  const float* b;
  float* c;
  const float* bias;
  const float* residual;
  const int32_t* index;
  int64_t taps, depth;
  int64_t b_panel;
  int64_t ahead, ahead_floats;
  int64_t rows, columns;
  int64_t c_row, c_group;
  ActArgs act;
  bool first, last;
};

struct GemmF32 {
  int32_t rows, columns;  // of the register tile
  void (*run)(const GemmF32Args* args);
};
#define PW_KIND_GEMM_F32 "gemm_f32"
// The same over some of the depth, for B whose other rows are zero.
#define PW_KIND_GEMM_INDEXED_F32 "gemm_indexed_f32"

}  // namespace pw
