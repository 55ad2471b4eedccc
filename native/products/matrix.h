// What the matrix routines share: packing of B, blocking, and the walk over tiles of C.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "spi/activation.h"
#include "spi/routine.h"
#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_f32.h"

namespace pw {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
// n in as few parts of at most `most` as there can be, all of one length but for the last: that length.
inline int64_t even_part(int64_t n, int64_t most) { return divide_up(n, std::max<int64_t>(1, divide_up(n, most))); }
inline int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// B as the micro-kernels read it: panels of `tile` columns; in a panel, `rows` rows of `tile` floats, zeros past the
// last column. `at(row, column)` gives the element. `id` 0 = do not share.
template <class At>
std::shared_ptr<const Buffer> pack_panels(uint64_t id, const std::string& signature, int64_t rows, int64_t columns,
                                          int64_t tile, const At& at) {
  const int64_t panels = divide_up(columns, tile);
  const size_t bytes = static_cast<size_t>(panels * rows * tile) * 4;
  auto fill = [&] {
    Buffer packed(bytes);
    float* data = packed.as<float>();
    parallel_for(panels, [&](int64_t first, int64_t last) {
      // Weights lie column by column: a block of rows of one column after another, so that what is read is near, and
      // what is written stays in L1. 144 rows are 16 channels of nine taps.
      constexpr int64_t kBlock = 144;
      for (int64_t p = first; p < last; ++p)
        for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
          for (int64_t c = 0; c < tile; ++c)
            for (int64_t r = r0; r < std::min(rows, r0 + kBlock); ++r)
              data[(p * rows + r) * tile + c] = p * tile + c < columns ? at(r, p * tile + c) : 0.0f;
    });
    return packed;
  };
  return shared_packing(id, signature + "/" + std::to_string(tile), fill, bytes);
}

// Convolution weights [O, I, kh, kw] of one group, rows in the order (ky, kx, channel) that channels-last input has.
// `first` and `outputs` name the group's rows of O.
std::shared_ptr<const Buffer> pack_convolution(const Constant& weights, int64_t first, int64_t outputs, int64_t inputs,
                                               int64_t taps, int64_t tile);

// Bias of `columns` outputs, padded with zeros to whole panels, behind at least `more` zeros; zeros when there is none.
Buffer pack_bias(const float* bias, int64_t columns, int64_t tile, int64_t more = 0);

// What every routine with packed or direct weights asks of x, w[, b]: f32, w and b constant, x and the residual not,
// nothing empty, an epilogue whose activation micro-kernels of kind `applying` apply.
Verdict accepts_weights(const Problem& p, const std::string& applying = PW_KIND_GEMM_F32);
// Bias of such a problem; nullptr when there is none.
inline const float* bias_of(const Problem& p, const Constants& constants) {
  return p.arity() > 2 && p.has(2) ? constants[2].as<float>() : nullptr;
}

// A workspace of one area per thread. `bytes`: of one, whole cache lines.
struct ThreadAreas {
  int64_t bytes = 0;
  int64_t threads = 1;
  size_t total() const { return static_cast<size_t>(bytes * threads); }
  template <class T>
  T* own(void* workspace, const Team& team) const {
    return reinterpret_cast<T*>(static_cast<char*>(workspace) + team.index * bytes);
  }
};

// Bytes of several packings.
inline size_t bytes_of(const std::vector<std::shared_ptr<const Buffer>>& packings) {
  size_t bytes = 0;
  for (const auto& p : packings) bytes += p->bytes();
  return bytes;
}

// Names of the gemm micro-kernels of the best tier that apply `act` and whose columns suit the layout of C.
std::vector<std::string> gemm_variants(Layout layout, Act act = Act::clip);
const GemmF32& gemm_kernel(const std::string& name);  // throws Error

// Splits C (rows x panels) into blocks such that the B panels of a block stay in L2 while rows pass over them, and that
// every thread gets several blocks.
struct Blocking {
  int64_t row_tiles;  // per block
  int64_t panels;     // per block
  int64_t row_blocks, panel_blocks;
  int64_t count() const { return row_blocks * panel_blocks; }
  int64_t first_panel(int64_t block) const { return block / row_blocks * panels; }
  // That of the block with which thread `index` of `threads` begins; nothing where no block is its own.
  std::optional<int64_t> first_panel(uint32_t index, uint32_t threads) const {
    const auto first = Team::own_first(count(), index, threads);
    return first ? std::optional(first_panel(*first)) : std::nullopt;
  }
};
Blocking block(int64_t row_tiles, int64_t panels, int64_t panel_bytes, int64_t tile_bytes, int threads);

// n items in even parts: 49 rows in tiles of at most 6 are four of 6 and five of 5, not eight of 6 and a last one of 1
// that takes nearly as long as a full one.
struct EvenParts {
  struct Part {
    int64_t first, count;
  };
  int64_t base, longer;
  EvenParts(int64_t n, int64_t parts) : base(n / parts), longer(n % parts) {}
  Part operator[](int64_t i) const { return {i * base + std::min(i, longer), base + (i < longer ? 1 : 0)}; }
};

// One product C = act(A * B + bias + residual), tile by tile: what a convolution or a dense layer hands to `walk`.
struct Product {
  const GemmF32* kernel;
  const float* b;         // panels of kernel->columns columns, taps * depth rows each
  const float* bias;      // padded to whole panels
  ActArgs act;
  int64_t rows, columns;  // of C
  int64_t taps, depth;
  int64_t chunk;          // rows of B per pass: whole taps, or a part of the depth when taps == 1
  int64_t c_row, c_group; // strides of C and of the residual, see kinds/gemm_f32.h
  Blocking blocking;
  bool fetches = false;     // the next block's B is fetched into L2 while a block is computed
  bool accumulate = false;  // C += A * B ...; the bias does not count

  int64_t row_tiles() const { return divide_up(rows, kernel->rows); }
  EvenParts tiles() const { return {rows, row_tiles()}; }
  int64_t panels() const { return divide_up(columns, kernel->columns); }
  // B from a panel on; nothing from none.
  Memory from_panel(std::optional<int64_t> first) const {
    if (!first) return {};
    const int64_t panel = taps * depth * kernel->columns;
    return {b + *first * panel, static_cast<uint64_t>((panels() - *first) * panel) * 4};
  }
  // What lies ahead of the B that block `index` reads from row k0 on, in floats; 0: nothing that is not in L2.
  int64_t ahead(int64_t index, int64_t k0) const {
    const int64_t k = taps * depth, next = k0 + chunk;
    if (next < k) return chunk * kernel->columns;
    const int64_t panels = blocking.first_panel(index + 1) - blocking.first_panel(index);
    return index + 1 < blocking.count() ? (panels * k - k0) * kernel->columns : 0;
  }
  // Offset of a panel's first column from the start of a row of C.
  int64_t panel_offset(int64_t panel) const {
    const int64_t column = panel * kernel->columns;
    return column / 16 * c_group + column % 16;
  }
};

// Computes block `index` of p.blocking. `fill(first_row, rows, pointers)` writes taps * kernel->rows pointers to rows of
// A, tap-major; `pointers` has room for them, one area per thread.
template <class Fill>
void walk_block(const Product& p, int64_t index, float* c, const float* residual, const float** pointers, Fill&& fill) {
  const int64_t tile_rows = p.kernel->rows, tile_columns = p.kernel->columns, k = p.taps * p.depth;
  const int64_t taps_per_pass = p.taps == 1 ? 1 : p.chunk / p.depth;
  const int64_t row_block = index % p.blocking.row_blocks, panel_block = index / p.blocking.row_blocks;
  const int64_t first_tile = row_block * p.blocking.row_tiles;
  const int64_t last_tile = std::min(p.row_tiles(), first_tile + p.blocking.row_tiles);
  const int64_t first_panel = panel_block * p.blocking.panels;
  const int64_t last_panel = std::min(p.panels(), first_panel + p.blocking.panels);
  const EvenParts tiles = p.tiles();
  GemmF32Args args{};  // once: clearing it takes a tenth of the time of a tile with few rows of B
  args.bias = p.bias + first_panel * tile_columns;
  args.b_panel = k * tile_columns;
  args.columns = std::min(last_panel * tile_columns, p.columns) - first_panel * tile_columns;
  args.c_row = p.c_row;
  args.c_group = p.c_group;
  args.act = p.act;
  for (int64_t k0 = 0; k0 < k; k0 += p.chunk) {
    const int64_t ahead = p.fetches ? p.ahead(index, k0) : 0, lines = ahead == 0 ? 0 : p.chunk * tile_columns / 16;
    for (int64_t tile = first_tile; tile < last_tile; ++tile) {
      const auto [row, rows] = tiles[tile];
      fill(row, rows, pointers);
      args.a = pointers;
      args.taps = std::min(taps_per_pass, p.taps);
      args.depth = p.taps == 1 ? std::min(p.chunk, k - k0) : p.depth;
      if (p.taps == 1) {
        for (int64_t i = 0; i < tile_rows; ++i) pointers[i] += k0;
      } else {
        args.a += k0 / p.depth * tile_rows;
        args.taps = std::min(taps_per_pass, p.taps - k0 / p.depth);
      }
      args.rows = rows;
      args.first = k0 == 0 && !p.accumulate;
      args.last = k0 + p.chunk >= k;
      const int64_t at = row * p.c_row + p.panel_offset(first_panel);
      args.b = p.b + (first_panel * k + k0) * tile_columns;
      args.c = c + at;
      args.residual = residual ? residual + at : nullptr;
      if (lines > 0) {  // each tile of rows fetches its part
        const EvenParts::Part part = EvenParts(lines, last_tile - first_tile)[tile - first_tile];
        args.ahead = ahead + part.first * 16;
        args.ahead_floats = part.count * 16;
      }
      p.kernel->run(&args);
    }
  }
}

// What `fill` of walk does where the rows of A lie one behind the other in `x`; behind the last row it points to that one.
inline auto rows_of(const float* x, const Product& p) {
  return [x, depth = p.depth, tile_rows = p.kernel->rows](int64_t row, int64_t rows, const float** to) {
    const float* from = x + row * depth;
    for (int64_t i = 0; i < rows; ++i, from += depth) to[i] = from;
    for (int64_t i = rows; i < tile_rows; ++i) to[i] = to[rows - 1];
  };
}

// Computes the blocks that this thread takes.
template <class Fill>
void walk(const Product& p, float* c, const float* residual, const float** pointers, Team& team, Fill&& fill) {
  team.each(p.blocking.count(), 1,
            [&](int64_t index, int64_t) { walk_block(p, index, c, residual, pointers, fill); });
}

// Blocks and fetching of a product that reads each row of A where it lies, as one tap.
void block(Product& p, int threads);

// A row of zeros that padding points to.
const float* zero_row(int64_t floats);

}  // namespace pw
