// How conv_transpose2/col2im cuts its work: tiles of outputs, and blocks of output channels.
#pragma once
#include "routines/conv_transpose2/geometry.h"

namespace pw {

// One axis of the outputs in positions: position q holds the `stride` outputs that inputs q, q - 1, ... q - reach arrive at.
struct Positions {
  int64_t first, last;  // those with outputs: [first, last)
  int64_t reach, in;
  explicit Positions(const TransposedAxis& a)
      : first(a.base(0)), last(a.base(a.out - 1) + 1), reach(a.dilation * (a.kernel - 1) / a.stride), in(a.in) {}
  int64_t count() const { return last - first; }
  // Inputs that `count` positions need at most.
  int64_t inputs(int64_t count) const { return std::min(count + reach, in); }
  // Those that positions [from, to) need; none where the second is not above the first.
  std::pair<int64_t, int64_t> inputs(int64_t from, int64_t to) const {
    return {std::max<int64_t>(0, from - reach), std::min(in, to)};
  }
};

// Micro-kernels for a product of rows x columns, those first that take least: for padding of the columns, and for loads beside
// multiplications. Rows are cut into even tiles, which cost what they hold.
inline std::vector<std::string> by_filling(std::vector<std::string> kernels, int64_t rows, int64_t columns) {
  auto price = [&](const std::string& name) {
    const GemmF32& k = gemm_kernel(name);
    // Loads for each multiplication of vectors; two of either may begin in a cycle.
    const double r = static_cast<double>(rows) / static_cast<double>(divide_up(rows, k.rows));
    const double loads = 1.0 / r + 16.0 / static_cast<double>(k.columns);
    return static_cast<double>(round_up(columns, k.columns)) * (1.0 + 0.2 * loads + 1.5 * std::max(0.0, loads - 1.0));
  };
  std::stable_sort(kernels.begin(), kernels.end(), [&](const auto& a, const auto& b) { return price(a) < price(b); });
  return kernels;
}

struct Tiling {
  int64_t channels;             // outputs of a block
  int64_t rows, columns;        // positions of a tile
  int64_t row_tiles, column_tiles;
  int64_t pixels;               // inputs of the largest tile
  int64_t tiles() const { return row_tiles * column_tiles; }
};

// What decides between tilings, in units of a multiplication and addition. Sums over the edge of a tile are computed on both
// sides of it, so that no thread waits for another, and every sum is made in one order: tiles should be large. The columns
// of the product should stay in L2: tiles should be small.
struct TilingCost {
  const TransposedGeometry& g;
  Positions rows, columns;
  int64_t threads, kernel_rows, kernel_columns;
  bool copies;  // the input is brought into rows of channels first

  int64_t depth() const { return g.inputs / g.groups; }
  int64_t padded(int64_t channels) const { return round_up(channels * g.kernel_height * g.kernel_width, kernel_columns); }
  // Pixels whose columns, and copies, take half of L2.
  int64_t fit(int64_t channels) const {
    const int64_t bytes = (padded(channels) + (copies ? depth() : 0)) * 4;
    return std::max(kernel_rows, static_cast<int64_t>(cpu().l2) / 2 / bytes);
  }
  // Vectors of outputs that lie side by side, in part empty: as a factor.
  double unfilled(int64_t channels) const {
    const int64_t run = (g.dilation_x == 1 ? std::min(g.stride_x, g.out_width) : 1) * channels;
    return static_cast<double>(round_up(run, 16)) / static_cast<double>(run);
  }
  double operator()(const Tiling& t) const {
    const int64_t blocks = divide_up(g.outputs / g.groups, t.channels), pieces = g.images * g.groups * blocks * t.tiles();
    const auto pixels = static_cast<double>(round_up(t.pixels, kernel_rows));
    const auto n = static_cast<double>(padded(t.channels)), k = static_cast<double>(depth());
    // What a column costs beside its product, within L2 and beyond; a copied input; a piece.
    const double column = (t.pixels > fit(t.channels) ? 32.0 : 8.0) * unfilled(t.channels);
    const double piece = pixels * (n * (k + column) + (copies ? 8.0 * k : 0.0)) + 20000.0;
    return piece * static_cast<double>(divide_up(pieces, threads));
  }
};

inline Tiling best_tiling(const TilingCost& cost) {
  const int64_t outputs = cost.g.outputs / cost.g.groups, taps = cost.g.kernel_height * cost.g.kernel_width;
  Tiling best{};
  double least = 0;
  auto consider = [&](int64_t channels, int64_t rows, int64_t columns) {
    Tiling t{channels, std::clamp<int64_t>(rows, 1, cost.rows.count()), std::clamp<int64_t>(columns, 1, cost.columns.count()),
             0, 0, 0};
    // As many tiles, but even ones.
    t.rows = divide_up(cost.rows.count(), divide_up(cost.rows.count(), t.rows));
    t.columns = divide_up(cost.columns.count(), divide_up(cost.columns.count(), t.columns));
    t.row_tiles = divide_up(cost.rows.count(), t.rows);
    t.column_tiles = divide_up(cost.columns.count(), t.columns);
    t.pixels = cost.rows.inputs(t.rows) * cost.columns.inputs(t.columns);
    const double price = cost(t);
    if (best.channels == 0 || price < least) best = t, least = price;
  };
  for (int64_t channels = outputs;; channels = divide_up(channels, 2)) {
    if (channels > 16) channels = std::min(outputs, round_up(channels, 16));
    const int64_t fit = cost.fit(channels);
    for (int64_t parts = 1; parts <= 64; parts += divide_up(parts, 8)) {
      const int64_t columns = divide_up(cost.columns.count(), parts), lines = fit / cost.columns.inputs(columns);
      const int64_t rows = lines >= cost.rows.in ? cost.rows.count() : lines - cost.rows.reach;
      for (int64_t cut = 1; cut <= 4 * cost.threads; cut += divide_up(cut, 8)) consider(channels, rows / cut, columns);
    }
    // Long lines: as many positions as fit, and as outweigh those behind the edge.
    for (int64_t rows = 1; rows <= 16; rows *= 2) {
      const int64_t columns = fit / cost.rows.inputs(rows) - cost.columns.reach;
      for (int64_t cut = 1; cut <= 4; ++cut) consider(channels, rows, columns / cut);
      for (int64_t times : {1, 4}) consider(channels, rows, times * cost.columns.reach);
    }
    if (channels == 1 || channels * taps <= cost.kernel_columns) break;
  }
  return best;
}

}  // namespace pw
