// Kind winograd_u8: the transforms of F(4 x 4, 3 x 3) in integers, channels-last, exact to the bit.
#pragma once
#include <cstdint>

#include "ukernels/kinds/requant_u8.h"

namespace pw {

// Interpolation divides by N_p, the product of the differences between point p and the others. Modulo 2^32 an odd number
// is divided by exactly; only powers of two lose bits. So the points are chosen for odd differences. As pairs (a : b) = a/b
// they fall into three classes modulo 2, and points of one class have an even difference; six points, two of each class,
// with differences of exactly 2 within a class, are
//
//     0 = (0 : 1)    2 = (2 : 1)    1    -1    -1/2 = (-1 : 2)    infinity = (1 : 0)
//
// with N = -2, 30, -6, 6, 30 (up to sign), 2: 2 times an odd number in each dimension. With
//   B^T   integer rows, whose absolute sums are 14, 6, 10, 10, 6, 14,
//   G     rows (b^2, a b, a^2), absolute sums at most 7,
//   A^T   columns 30 / N_p * (b^3, a b^2, a^2 b, a^3),
// the result of all transforms is 900 times the sums of the convolution, as long as sums wrap around in 32 bits; times the
// inverse of 225 it is 4 times them, which fits where 4 * |sum| < 2^31. From inputs of at most 128 in absolute value V is
// at most 14 * 14 * 128 = 25,088, and U at most 7 * 7 * 127: 16 bits each.
constexpr int64_t kWinogradG[6][3] = {{1, 0, 0}, {1, 2, 4}, {1, 1, 1}, {1, -1, 1}, {4, -2, 1}, {0, 0, 1}};
constexpr int64_t kMostWinogradInputs = INT32_MAX / (4 * 9 * 128 * 127);

// V[p] = (B^T (x - 128) B)[p] for one tile of x: 6 x 6 pixels of `channels` u8.
struct WinogradU8InputArgs {
  const uint8_t* const* pixels;  // 36 pointers, row-major
  int16_t* v;                    // position p at v + p * v_stride
  int64_t v_stride, channels;
};

// For one tile of 4 x 4 pixels, of which `rows` x `columns` are stored: y = fma(float(S + start), scale, bias), S the
// sum over (x - 128) * w, then as in requant_u8.h.
struct WinogradU8OutputArgs {
  const int32_t* m;  // position p at m + p * m_stride, `channels` rounded up to the vector
  int64_t m_stride, channels;
  uint8_t* y;        // pixel (i, j) at y + i * y_row + j * y_pixel; the same strides for `residual` (may be null)
  const uint8_t* residual;
  int64_t y_row, y_pixel;
  int64_t rows, columns;
  const int32_t* start;  // as are the next two: `channels` numbers, rounded up to the vector
  const float *scale, *bias;
  RequantU8 out;
};

struct WinogradU8 {
  void (*input)(const WinogradU8InputArgs* args);
  void (*output)(const WinogradU8OutputArgs* args);
};
#define PW_KIND_WINOGRAD_U8 "winograd_u8"

}  // namespace pw
