// Convolutions with few products for each channel: tiles of outputs, a vector of output channels at a time, from a copy of the
// pixels under the tile in which those outside of the image lie as zeros. What conv2/band and depthwise_conv2/band share.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "products/geometry.h"
#include "spi/estimate.h"
#include "ukernels/kinds/band_f32.h"
#include "ukernels/kinds/transpose_f32.h"
#include "values/tables.h"

namespace pw {

// The tile of outputs and the copy under it. Pixels of a row of the copy lie by phases, so that whatever the stride those under
// neighbouring outputs are neighbours: pixel c of a row, counted from the left end of the tile, is number c / stride of phase
// c % stride.
struct BandTile {
  int64_t rows, columns;            // of outputs
  int64_t row_tiles, column_tiles;  // in the image
  int64_t in_rows, phase, step;     // rows of the copy, pixels of a phase of a row, outputs at a time
  int64_t row_pixels;               // of the copy

  // `floats`: of a pixel in the copy. `others`: pieces that a tile is cut into.
  BandTile(const Geometry& g, int64_t floats, int64_t others, int64_t threads) {
    const int64_t reach_y = (g.kernel_height - 1) * g.dilation_y + 1, reach_x = (g.kernel_width - 1) * g.dilation_x + 1;
    constexpr int64_t kMostColumns = 112;
    column_tiles = divide_up(g.out_width, kMostColumns);
    columns = divide_up(g.out_width, column_tiles);
    if (column_tiles > 1) columns = round_up(columns, kBandSteps[0]);
    column_tiles = divide_up(g.out_width, columns);
    phase = divide_up((columns - 1) * g.stride_x + reach_x, g.stride_x);
    row_pixels = phase * g.stride_x;
    // A copy that stays in L1 beside weights and outputs, but no shorter than the rows that two tiles share, for these are
    // copied twice.
    const int64_t fit = static_cast<int64_t>(cpu().l1d) * 5 / 8 / (4 * floats * row_pixels);
    rows = std::max((fit - reach_y) / g.stride_y + 1, divide_up(reach_y, g.stride_y));
    const int64_t pieces = others * g.images * column_tiles;
    if (threads > 1) rows = std::min(rows, divide_up(g.out_height, divide_up(4 * threads, pieces)));
    rows = std::clamp<int64_t>(rows, 1, g.out_height);
    row_tiles = divide_up(g.out_height, rows);
    rows = divide_up(g.out_height, row_tiles);
    row_tiles = divide_up(g.out_height, rows);
    in_rows = (rows - 1) * g.stride_y + reach_y;
    // Two products a cycle that take four each: fewer than eight sums wait for each other.
    auto cycles = [&](int64_t s) { return divide_up(columns, s) * product_cycles(s); };
    step = 1;
    for (int64_t s : kBandSteps)
      if (s <= smallest_columns(g) && (step == 1 || cycles(s) < cycles(step))) step = s;
  }
  // That so many products with one vector of weights take, where each would take one.
  static int64_t product_cycles(int64_t s) { return std::max<int64_t>(s, 8) + 2; }
  // Of the last tile of a row, which may be shorter than the others.
  int64_t smallest_columns(const Geometry& g) const { return g.out_width - (column_tiles - 1) * columns; }
  int64_t plane(int64_t floats) const { return in_rows * row_pixels * floats; }
  // Of a tap, in pixels.
  int64_t offset(const Geometry& g, int64_t ky, int64_t kx) const {
    const int64_t c = kx * g.dilation_x;
    return ky * g.dilation_y * row_pixels + c % g.stride_x * phase + c / g.stride_x;
  }
};

// Tile number `index` of an image, and the copy of its pixels.
struct BandPlace {
  int64_t oy, ox, rows, columns;

  BandPlace(const Geometry& g, const BandTile& t, int64_t index)
      : oy(index / t.column_tiles * t.rows), ox(index % t.column_tiles * t.columns), rows(std::min(t.rows, g.out_height - oy)),
        columns(std::min(t.columns, g.out_width - ox)) {}

  // Calls zero(first, last) for the pixels of the copy that lie outside of the image, and copy(row, column, count, to) for
  // runs of pixels, a stride apart, from the image to pixel `to` of the copy.
  template <class Zero, class Copy>
  void bring(const Geometry& g, const BandTile& t, Zero&& zero, Copy&& copy) const {
    const int64_t top = oy * g.stride_y - g.pad_top, left = ox * g.stride_x - g.pad_left;
    for (int64_t r = 0; r < t.in_rows; ++r) {
      const int64_t iy = top + r, to = r * t.row_pixels;
      if (iy < 0 || iy >= g.height) {
        zero(to, to + t.row_pixels);
        continue;
      }
      for (int64_t f = 0; f < g.stride_x; ++f) {
        const int64_t x0 = left + f, at = to + f * t.phase;
        const int64_t first = std::clamp<int64_t>(divide_up(std::max<int64_t>(-x0, 0), g.stride_x), 0, t.phase);
        const int64_t last = std::clamp<int64_t>(divide_up(std::max<int64_t>(g.width - x0, 0), g.stride_x), first, t.phase);
        if (first > 0) zero(at, at + first);
        if (last > first) copy(iy, x0 + first * g.stride_x, last - first, at + first);
        if (last < t.phase) zero(at + last, at + t.phase);
      }
    }
  }
};

// Declines problems under whose tiles lie more pixels than the values hold, as under kernels with rates beyond the image.
// `floats`: of a pixel in the copy.
inline Verdict band_fits(const Problem& p, const BandTile& t, int64_t floats) {
  const int64_t all = saturated(saturated(t.in_rows, t.row_pixels), floats);
  if (all > INT32_MAX) return Verdict::no("the copy of a tile has more than 2^31 elements");
  return fits_table(p, all, sizeof(float));
}

// What a band costs: the share of the peak of its products, and operations that a float of the copy and a piece take.
struct BandCosts {
  double share, copied, piece;
};

// `vectors` of `lanes` outputs per pixel, each a sum of `terms`; `floats`: of a pixel in the copy, made `copies` times.
inline Estimate band_estimate(const Geometry& g, const BandTile& t, double vectors, double lanes, double terms, double floats,
                              double copies, const BandCosts& costs) {
  const auto pixels = static_cast<double>(g.images * g.out_pixels());
  const auto copied = static_cast<double>(g.images * t.row_tiles * t.column_tiles * t.in_rows * t.row_pixels);
  Estimate e;
  e.pieces = copies * static_cast<double>(g.images * t.row_tiles * t.column_tiles);
  e.add(2 * pixels * vectors * lanes * terms, costs.share);
  e.work += copies * copied * floats * costs.copied + e.pieces * costs.piece;
  return e;
}

inline void zero_floats(float* at, int64_t n) { std::memset(at, 0, static_cast<size_t>(n) * 4); }

}  // namespace pw
