// What the matrix routines on u8 share: quantised weights packed for gemm_u8, and the walk over tiles of C.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "products/matrix.h"
#include "ukernels/kinds/gemm_u8.h"
#include "values/quantised.h"

namespace pw {

// What B is: weights, scaled for kernels that are `narrow`, or a value of the net, for which those are not exact.
enum class SecondOperand { weights, value };
// The micro-kernels of the best tier with tiles and of the best one with vectors: which is faster is to be measured.
std::vector<std::string> gemm_u8_variants(Act act, SecondOperand b = SecondOperand::weights);
const GemmU8& gemm_u8_kernel(const std::string& name);  // throws Error

// `rows` rows of C in even tiles of at most `tile_rows`, of which none crosses a multiple of `line`. Where the last line is
// shorter than the others, every line is one tile.
class LineTiles {
 public:
  LineTiles(int64_t rows, int64_t line, int64_t tile_rows)
      : rows_(rows), line_(std::min(line, rows)), per_line_(divide_up(line_, tile_rows)), parts_(line_, per_line_) {}
  int64_t count() const { return divide_up(rows_, line_) * per_line_; }
  int64_t most() const { return divide_up(line_, per_line_); }
  EvenParts::Part operator[](int64_t i) const {
    if (line_ == rows_) return parts_[i];
    const int64_t line = i / per_line_, first = line * line_;
    if (per_line_ == 1) return {first, std::min(line_, rows_ - first)};
    const auto [at, count] = parts_[i - line * per_line_];
    return {first + at, count};
  }

 private:
  int64_t rows_, line_, per_line_;
  EvenParts parts_;
};

// How a kernel takes rows of A: `words`, `step` of them at once. `staged`: rows go through kernel.stage first.
struct RowsOfWords {
  bool staged;
  int64_t words, step;
  // `taps` and `depth`: as the input has them. `even`: its rows lie at one distance from each other.
  RowsOfWords(const GemmU8& kernel, int64_t taps, int64_t depth, bool even);
};

// One product C = requantise(A * B), tile by tile.
struct ProductU8 {
  const GemmU8* kernel;
  int64_t rows, columns;  // of C
  int64_t taps, depth;    // as `fill` gives pointers: depth u8 each, taps * depth in a row of B
  bool staged = false;    // see RowsOfWords
  int64_t words, step;    // of a row, as the kernel takes them
  int64_t c_row;
  int64_t line;           // see LineTiles
  RequantU8 out;
  Blocking blocking;

  // `taps` and `depth`: as the input has them. `even`: its rows lie at one distance from each other.
  ProductU8(const GemmU8& kernel, int64_t rows, int64_t columns, int64_t taps, int64_t depth, int64_t c_row,
            const RequantU8& out, bool even, int threads);
  // Rows that a kernel with tiles reads in place: `taps` runs of steps * step words.
  ProductU8(const GemmU8& kernel, int64_t rows, int64_t line, int64_t columns, int64_t taps, int64_t steps, int64_t step,
            const RequantU8& out, int threads);
  LineTiles tiles() const { return {rows, line, kernel->rows}; }
  int64_t row_tiles() const { return tiles().count(); }
  int64_t tile_rows() const { return tiles().most(); }
  int64_t panels() const { return divide_up(columns, kernel->columns); }
  // Rows lie a cache line more than whole lines apart, so that a power of two does not put them into one set.
  int64_t row_bytes() const { return staged ? round_up(words * 4, 64) + 64 : 0; }
  int64_t pointer_bytes() const { return round_up((staged ? 1 : taps) * kernel->rows * 8, 64); }
  // Scratch memory of one thread.
  int64_t area() const { return pointer_bytes() + kernel->rows * row_bytes(); }
};

// Where the elements of a row of B lie in its words: one behind the other, or in runs of `length` that begin on a word each,
// with zeros between them. A run that begins at an odd element is moved on by one, so that neighbours, whose products may be
// added up in 16 bits, are the same two everywhere; not so for kernels that add them up in 32 bits, where runs are `apart`.
struct Runs {
  int64_t length = 0;  // 0: there is but one
  int64_t apart = 0;   // elements from one run's begin to the next one's

  int64_t stride() const { return apart ? apart : round_up(length + length % 2, 4); }
  int64_t moved(int64_t run) const { return apart ? 0 : run * length % 2; }
  int64_t at(int64_t k) const {
    return length == 0 ? k : k / length * stride() + moved(k / length) + k % length;
  }
};

// Weights [outputs, inputs, taps...] of one group for a product, rows of B in the order (tap, channel). `first` and
// `outputs` name the group's part of the constant.
class WeightsU8 {
 public:
  WeightsU8(const Constant& weights, const float* bias, int64_t first, int64_t outputs, int64_t inputs, int64_t taps,
            const ProductU8& product, Scale in, Runs runs = {});

  int64_t words() const { return words_; }
  const char* panel(int64_t i) const { return packed_->as<char>() + i * words_ * tile_ * 4; }
  const int32_t* start(int64_t i) const { return columns_.as<int32_t>() + i * tile_; }
  const float* scale(int64_t i) const { return columns_.as<float>() + padded_ + i * tile_; }
  const float* bias(int64_t i) const { return columns_.as<float>() + 2 * padded_ + i * tile_; }
  size_t bytes() const { return packed_->bytes() + columns_.bytes(); }
  // The panels from one on; nothing from none.
  Memory from(std::optional<int64_t> first) const {
    if (!first) return {};
    return {panel(*first), static_cast<uint64_t>((padded_ - *first * tile_) * words_) * 4};
  }
  float most() const { return most_; }  // of |scale * sum + bias|, whatever A is

 private:
  int64_t tile_, padded_, words_;
  float most_ = 0;
  std::shared_ptr<const Buffer> packed_;  // panels, then scale and sum of each column
  Buffer columns_;                        // start, scale, bias
};

// Rows of x, `depth` bytes each, one behind the other: what `fill` of walk_block writes where there is one tap.
inline void fill_rows(const ProductU8& p, const uint8_t* x, int64_t row, int64_t rows, const void** to, char* scratch) {
  const uint8_t* from = x + row * p.depth;
  for (int64_t i = 0; i < rows; ++i, from += p.depth) {
    to[i] = from;
    if (!p.staged) continue;
    to[i] = scratch + i * p.row_bytes();
    p.kernel->stage(&from, 1, p.depth, p.words, scratch + i * p.row_bytes());
  }
  for (int64_t i = rows; i < p.kernel->rows; ++i) to[i] = to[rows - 1];
}

// Computes block `index` of p.blocking. `fill(first_row, rows, pointers, rows_of_scratch)` writes pointers: staged, one
// to each row as kernel->stage wrote it; else taps * kernel->rows, tap-major. `weights`: panels, with start, scale and
// bias of their columns one behind the other, as WeightsU8 has them. `run(args)` computes a tile of rows in all panels.
template <class Weights, class Fill, class Run>
void walk_block(const ProductU8& p, const Weights& weights, int64_t index, uint8_t* c, const uint8_t* residual,
                char* area, Fill&& fill, Run&& run) {
  const int64_t tile_columns = p.kernel->columns;
  const int64_t row_block = index % p.blocking.row_blocks, panel_block = index / p.blocking.row_blocks;
  const int64_t first_tile = row_block * p.blocking.row_tiles;
  const int64_t last_tile = std::min(p.row_tiles(), first_tile + p.blocking.row_tiles);
  const int64_t first_panel = panel_block * p.blocking.panels;
  const int64_t last_panel = std::min(p.panels(), first_panel + p.blocking.panels);
  const LineTiles tiles = p.tiles();
  auto** pointers = reinterpret_cast<const void**>(area);
  if (p.kernel->open) p.kernel->open(p.tile_rows(), p.step);
  GemmU8Args args{};  // once: filling it takes long against a tile with few words
  args.a = pointers;
  args.b = weights.panel(first_panel);
  args.start = weights.start(first_panel);
  args.scale = weights.scale(first_panel);
  args.bias = weights.bias(first_panel);
  args.taps = p.staged ? 1 : p.taps;
  args.words = p.words / args.taps;
  args.step = p.step;
  args.columns = std::min(last_panel * tile_columns, p.columns) - first_panel * tile_columns;
  args.tile_rows = p.tile_rows();
  args.c_row = p.c_row;
  args.out = p.out;
  for (int64_t tile = first_tile; tile < last_tile; ++tile) {
    const auto [row, rows] = tiles[tile];
    fill(row, rows, pointers, area + p.pointer_bytes());
    const int64_t at = row * p.c_row + first_panel * tile_columns;
    args.rows = rows;
    args.c = c + at;
    args.residual = residual ? residual + at : nullptr;
    run(args);
  }
  if (p.kernel->close) p.kernel->close();
}
template <class Weights, class Fill>
void walk_block(const ProductU8& p, const Weights& weights, int64_t index, uint8_t* c, const uint8_t* residual,
                char* area, Fill&& fill) {
  walk_block(p, weights, index, c, residual, area, fill, [&](const GemmU8Args& args) { p.kernel->run(&args); });
}

}  // namespace pw
