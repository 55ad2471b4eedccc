// Kind winograd_f32: the transforms of F(m x m, 3 x 3), channels-last. Lavin and Gray 2015, arXiv 1509.09308.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// Interpolation points of F(m, 3): 0, +-points[0], +-points[1], ..., infinity. Chosen so that the rounding error is
// small (bench/winograd_points.py): relative RMS error 4e-7 for F(2), 9e-7 for F(4), 4e-6 for F(6) at 128 channels.
constexpr float kWinogradPoints[3][3] = {{1.0f, 0, 0}, {0.75f, 1.5f, 0}, {0.5f, 1.0f, 2.0f}};

// V[p] = (B^T d B)[p] for one tile of d: alpha * alpha pixels of `channels` floats, alpha = m + 2.
struct WinogradInputArgs {
  const float* const* pixels;  // alpha * alpha pointers, row-major
  float* v;                    // position p at v + p * v_stride
  int64_t v_stride, channels;
};

// y = act(A^T M A + bias + residual) for one tile of m * m pixels, of which `rows` x `columns` are stored.
struct WinogradOutputArgs {
  const float* m;  // position p at m + p * m_stride
  int64_t m_stride, channels;
  float* y;        // pixel (i, j) at y + i * y_row + j * y_pixel; the same strides for `residual` (may be null)
  const float* residual;
  int64_t y_row, y_pixel;
  int64_t rows, columns;
  const float* bias;  // `channels` floats, rounded up to the vector
  ActArgs act;
};

struct WinogradF32 {
  int32_t outputs;  // m
  void (*input)(const WinogradInputArgs* args);
  void (*output)(const WinogradOutputArgs* args);
};
#define PW_KIND_WINOGRAD_F32 "winograd_f32"

}  // namespace pw
