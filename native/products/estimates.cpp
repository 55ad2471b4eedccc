#include "products/estimates.h"

#include <cmath>

namespace pw {
namespace {

// Shares of the peak and costs in operations, found with bench/estimates.py.
constexpr double kInner = 0.89;         // of the peak that the inner loop of a gemm micro-kernel reaches,
constexpr double kPass = 0.5;           // rows whose operations it could make while a tile of rows reads a row of B
constexpr double kLeastRows = 4;        // rows of a tile that take as long as one
constexpr double kStore = 29;           // operations that starting and storing an output of a tile take
constexpr double kTap = 122;            // that going on to the next tap of a tile takes
constexpr double kRow = 28;             // that pointing to a row takes,
constexpr double kPointer = 114;        // and to a row of a tap, which is looked up

constexpr double kActivation = 80;      // that a function takes per element

double up(double n, double to) { return std::ceil(n / to); }

}  // namespace

Estimate& add_product(Estimate& e, const ProductSizes& s, const GemmF32& kernel) {
  const double tiles = s.count * up(s.rows, kernel.rows), panels = up(s.columns, kernel.columns);
  const double tile = static_cast<double>(kernel.rows) * kernel.columns;
  // Tiles are even, and each takes as long as its rows.
  const double rows = std::max(s.count * s.rows, tiles * std::min<double>(kLeastRows, kernel.rows)) + kPass * tiles;
  e.add(2 * rows * kernel.columns * panels * s.depth, kInner);
  e.work += tiles * panels * (kStore * tile + (s.taps > 1 ? kTap * s.taps : 0));
  e.work += tiles * s.taps * kernel.rows * (s.looked_up ? kPointer : kRow);
  const double a = s.rows * s.depth * 4;
  read_again(e, s.count * a / std::max(1.0, s.taps), a, s.columns * s.depth * 4);
  e.pieces = tiles * panels;
  return e;
}

Estimate product_estimate(const ProductSizes& sizes, const std::string& variant) {
  Estimate e;
  const GemmF32* kernel = ukernel<GemmF32>(PW_KIND_GEMM_F32, variant.substr(0, variant.find('/')));
  return kernel ? add_product(e, sizes, *kernel) : e;
}

Estimate convolution_estimate(const Geometry& g, const std::string& variant, double taps, bool looked_up) {
  return product_estimate({.rows = static_cast<double>(g.images * g.out_pixels()),
                           .depth = static_cast<double>(g.group_inputs() * g.taps()),
                           .columns = static_cast<double>(g.group_outputs()),
                           .taps = taps,
                           .count = static_cast<double>(g.groups),
                           .looked_up = looked_up},
                          variant);
}

void read_again(Estimate& e, double bytes, double room, double b) {
  const double passes = up(b, static_cast<double>(cpu().l2) / 2);
  if (passes > 1) e.move((passes - 1) * bytes, room);
}

double activation_work(const Problem& p) {
  const auto act = epilogue_activation(p);
  return act && act->act != Act::clip ? kActivation : 0;
}

}  // namespace pw
