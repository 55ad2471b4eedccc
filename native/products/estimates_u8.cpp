#include "products/estimates_u8.h"

#include <algorithm>

#include "products/estimates.h"
#include "products/matrix_u8.h"

namespace pw {
namespace {

// Shares of the peak and costs in operations of bytes, found with bench/estimates.py on AVX2. Pairs of 16 bits are multiplied
// at half of the rate of bytes or a little more.
constexpr double kInner = 0.97, kInnerPairs = 0.55, kGemv = 0.35;
constexpr double kRequantised = 75;  // that starting an output of a tile, requantising and storing it take,
constexpr double kFunction = 400;    // a function before that,
constexpr double kSums = 20;         // and where it stays a sum
constexpr double kTap = 1000;        // that going on to the next tap of a tile takes
constexpr double kRow = 400;         // that pointing to a row of a tap takes,
constexpr double kPixel = 150;       // finding its pixel,
constexpr double kStaged = 80;       // and copying four bytes of a row
constexpr double kNarrowedRow = 7000, kNarrowed = 40, kWidened = 110;

double ended(ProductU8Sizes::End end) {
  using End = ProductU8Sizes::End;
  return end == End::sums ? kSums : kRequantised + (end == End::function ? kFunction : 0);
}
double number(int64_t n) { return static_cast<double>(n); }

}  // namespace

ProductU8Sizes::End end_of(Act act) {
  using End = ProductU8Sizes::End;
  return act == Act::clip || act == Act::hard_swish ? End::clamped : End::function;
}

Estimate& add_product(Estimate& e, const ProductU8Sizes& s, const GemmU8& kernel) {
  const RowsOfWords as(kernel, s.taps, s.depth, s.even);
  const bool staged = as.staged && !s.runs;
  const double tiles = number(s.count * divide_up(s.rows, kernel.rows)), panels = number(divide_up(s.columns, kernel.columns));
  const double tile = number(kernel.rows * kernel.columns), words = number(as.words);
  e.unit = DType::i8;
  e.add(2 * tile * tiles * panels * words * kernel.group, kernel.group == 2 ? kInnerPairs : kInner);
  e.work += tiles * panels * ended(s.end) * tile;
  if (s.taps > 1 && !staged) e.work += tiles * panels * kTap * number(s.taps);
  e.work += tiles * kernel.rows * (staged ? kStaged * words : 0);
  e.work += tiles * kernel.rows * (kRow + (s.even ? 0 : kPixel)) * number(s.taps);
  e.constants = (e.constants < 0 ? 0 : e.constants) + panels * kernel.columns * (words * 4 + 12);
  const double a = number(s.rows * s.depth);
  read_again(e, number(s.count) * a, a, panels * kernel.columns * words * 4);
  e.pieces = tiles * panels;
  return e;
}

Estimate product_u8_estimate(const ProductU8Sizes& sizes, const std::string& variant) {
  Estimate e;
  const GemmU8* kernel = ukernel<GemmU8>(PW_KIND_GEMM_U8, variant.substr(0, variant.find('/')));
  return kernel ? add_product(e, sizes, *kernel) : e;
}

Estimate gemv_u8_estimate(int64_t rows, int64_t depth, int64_t columns, ProductU8Sizes::End end) {
  Estimate e;
  e.unit = DType::i8;
  e.add(2 * number(rows * depth * columns), kGemv);
  e.work += ended(end) * number(rows * columns);
  // Where rows are short, the next one is fetched late.
  e.constants = number(depth * columns) * (1 + 50 / number(depth)) + 12 * number(columns);
  e.pieces = number(columns);
  return e;
}

double narrowed(int64_t rows, int64_t depth) { return number(rows) * (kNarrowedRow + kNarrowed * number(depth)); }
double widened(int64_t count) { return kWidened * number(count); }

}  // namespace pw
