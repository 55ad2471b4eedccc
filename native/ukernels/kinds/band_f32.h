// Kind band_f32: convolutions with few products for each channel, a vector of output channels at a time, from a copy of a band
// of the image in which the border lies too, so that nothing lies outside.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// y = act(sum over taps of weights[t] * x[offsets[t] + ...] + bias + residual) for rows x columns outputs. Neighbouring outputs
// of a row see neighbouring pixels of the copy: `lanes` floats each (run), or one (run_spread, all lanes of the vector see it).
struct BandArgs {
  const float* x;          // of the copy: where the first output's window begins
  int64_t x_row;           // floats from one row of outputs to the next in the copy
  const int32_t* offsets;  // of each tap
  const float* weights;    // taps * lanes
  int64_t taps;
  const float* bias;       // lanes
  float* y;                // output (i, j) at y + i * y_row + j * y_pixel; the same strides for `residual` (may be null)
  const float* residual;
  int64_t y_row, y_pixel;
  int64_t rows, columns;
  int64_t step;            // outputs at a time: one of kBandSteps, and at most `columns`
  int64_t channels;        // that are stored, at most `lanes`
  ActArgs act;
};
constexpr int64_t kBandSteps[] = {14, 12, 10, 8, 7, 6, 4, 2, 1};

// A run of pixels into the copy, `lanes` floats each; lanes from `channels` on are 0. Part i, i * plane floats behind the first
// one, holds in every lane the i-th of the `width` channels that belong together with the lane's own; 1: what lies there.
struct BandCopyArgs {
  const float* x;
  float* to;
  int64_t x_pixel, pixels, channels, width, plane;
};

struct BandF32 {
  int32_t lanes;
  void (*run)(const BandArgs* args);
  void (*run_spread)(const BandArgs* args);
  void (*copy)(const BandCopyArgs* args);  // width: a power of two, at most `lanes`
};
#define PW_KIND_BAND_F32 "band_f32"

}  // namespace pw
