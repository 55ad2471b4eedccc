// Kind recurrent_f32: the step of a recurrent cell from the sums of its gates to its states, a block of hidden units at a time.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// Hidden units of a block; in the sums those of one gate lie side by side.
constexpr int64_t kUnits = 16;

// y = scale * act(in * min(max(x, -clip), clip)) + shift.
struct GateAct {
  ActArgs act;
  float clip, in, scale, shift;
};

// `rows` sequences of `blocks` blocks. The sums of block b in row r are `gates` runs of kUnits floats at sums + r * sums_row +
// b * sums_block; where a cell has `more`, so are those at more + r * more_row + b * more_block. States and `reset` have kUnits
// floats for each block at r * state_row. Sums may be written.
struct CellF32Args {
  int64_t rows, blocks;
  float* sums;
  const float* more;
  int64_t sums_row, more_row, sums_block, more_block;
  const float *h_before, *c_before;
  float *h, *c, *reset;
  int64_t state_row;
  const float* peepholes;  // weights of c: for each block runs of kUnits floats for the gates i, o, f; may be null
  GateAct act[3];
  bool coupled;            // of an LSTM: the forget gate is 1 - i
};

// Bytes of rows of floats: q = min(max(rint(x / scale) + zero, 0), 255), `zero` for a NaN.
struct RoundRowArgs {
  const float* x;
  uint8_t* y;
  int64_t count;
  float scale;
  int32_t zero;
};

// y[j] = base[j] + scale * scales[j] * (sums[j] - zero * columns[j] - rest * zeros[j]), the bracket in 32 bits that
// wrap around.
struct ScaledSumsArgs {
  const int32_t *sums, *columns, *zeros;
  const float *scales, *base;
  float* y;  // may be base
  int64_t count;  // a multiple of kUnits
  float scale;
  int32_t zero, rest;
};

// Several rows: y[i * y_row + p * tile + j] += sum over k < depth of x[i * x_row + k] * panels[p * panel + k * tile + j], or, with
// `bias`, bias[p * tile + j] + that sum.
struct RowsF32Args {
  const float* x;
  int64_t x_row;
  const float* panels;
  int64_t panel, depth, rows, count;
  const float* bias;
  float* y;
  int64_t y_row;
};

struct RecurrentF32 {
  // y[p * tile + j] += sum over k < depth of x[k] * panels[p * panel + k * tile + j], for `count` panels of `tile` columns as
  // the micro-kernels of kind gemm_f32 read them.
  void (*row)(const float* x, const float* panels, int64_t panel, int64_t tile, int64_t depth, int64_t count, float* y);
  // For panels of 16 columns; null where a kernel of kind gemm_f32 takes as many rows as a step mostly has in one tile.
  void (*rows)(const RowsF32Args* args);
  // h = act0(sums).
  void (*rnn)(const CellF32Args* args);
  // Gates i, o, f, c. c = f c_before + i act1(c sum), h = o act2(c); i, f and o are act0.
  void (*lstm)(const CellF32Args* args);
  // Gates z, r, n of x in `more`, and those of h in `sums`: h = (1 - z) n + z h_before, n = act1(more + r * sum).
  void (*gru_linear)(const CellF32Args* args);
  // Gates z, r: z is written to its place in the sums, r * h_before to `reset`.
  void (*gru_reset)(const CellF32Args* args);
  // Gate n in the sums, z in `more`: h = (1 - z) act1(sum) + z h_before.
  void (*gru_update)(const CellF32Args* args);
  void (*scaled_sums)(const ScaledSumsArgs* args);
  // Widens [range[0], range[1]] to all of n floats but NaN.
  void (*range)(const float* x, int64_t n, float* range);
  // Gives the sum of the bytes.
  int32_t (*round_row)(const RoundRowArgs* args);
};
#define PW_KIND_RECURRENT_F32 "recurrent_f32"

}  // namespace pw
