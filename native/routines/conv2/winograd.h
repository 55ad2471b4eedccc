// What the Winograd convolutions F(m x m, 3 x 3) of all element types share: which problems they accept, the tiles of the
// output, and how a run is divided among threads.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "products/geometry.h"

namespace pw {

// `grouped`: whether it may have groups.
inline Verdict suits_winograd(const Geometry& g, bool grouped = false) {
  if (g.kernel_height != 3 || g.kernel_width != 3) return Verdict::no("the kernel is not 3x3");
  if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
  if (g.groups != 1 && !grouped) return Verdict::no("groups are not 1");
  return Verdict::ok();
}

// Most tiles of a micro-kernel that the rows of one product are divided into, and most rows of such a tile.
constexpr int64_t kMostRowTiles = 64, kMostTileRows = 32;

// Rows of A of one product as a micro-kernel takes them, tile by tile: made once for all panels of B.
template <class Pointer>
class RowTiles {
 public:
  // `at(i)`: row i of n <= kMostRowTiles * tile_rows.
  template <class At>
  RowTiles(int64_t n, int64_t tile_rows, At at)
      : tile_rows_(tile_rows), count_(divide_up(n, tile_rows)), parts_(n, count_) {
    for (int64_t tile = 0; tile < count_; ++tile) {
      const auto [first, rows] = parts_[tile];
      for (int64_t i = 0; i < tile_rows; ++i) pointers_[tile * tile_rows + i] = at(first + std::min(i, rows - 1));
    }
  }
  int64_t count() const { return count_; }
  EvenParts::Part operator[](int64_t tile) const { return parts_[tile]; }
  const Pointer* pointers(int64_t tile) const { return pointers_ + tile * tile_rows_; }

 private:
  int64_t tile_rows_, count_;
  EvenParts parts_;
  Pointer pointers_[kMostRowTiles * kMostTileRows];
};

// Tiles of m x m outputs, each made from alpha x alpha inputs. With a dilation the outputs that lie as far apart as the taps make
// an image of their own, a phase, which is computed as if there were no dilation. A run is divided into chunks of tiles, each by one thread
// alone ("own") or by the whole team in three phases ("team").
class WinogradTiles {
 public:
  // `variant`: gemm micro-kernel "/own" TILES | gemm micro-kernel "/team" TILES. `rows`: of the micro-kernel's tile.
  WinogradTiles(const Geometry& g, int64_t m, const std::string& variant, int64_t rows)
      : g_(g), m_(m), down_(tiles(g.out_height, g.dilation_y, m)), across_(tiles(g.out_width, g.dilation_x, m)) {
    const std::string text = variant.substr(variant.find('/') + 1);
    const size_t digits = text.find_first_of("0123456789");
    const std::string way = text.substr(0, digits);
    if ((way != "own" && way != "team") || digits == std::string::npos)
      throw Error("winograd schedule '" + text + "': expected ownN or teamN");
    if (rows > kMostTileRows) throw Error("winograd: tiles of " + std::to_string(rows) + " rows are not foreseen");
    team_ = way == "team";
    chunk_ = std::min<int64_t>({std::stoll(text.substr(digits)), round_up(count(), rows), kMostRowTiles * rows});
  }

  // Variants of a micro-kernel: chunks that a thread works on alone, small enough for its L2 or large enough to read the
  // weights seldom; or all tiles at once by the team, which reads the weights once.
  static std::vector<std::string> variants(const Geometry& g, int64_t m, const std::string& kernel, int64_t rows,
                                           int64_t threads) {
    const int64_t tiles = g.images * WinogradTiles::tiles(g.out_height, g.dilation_y, m) *
                          WinogradTiles::tiles(g.out_width, g.dilation_x, m);
    std::vector<std::string> names;
    for (int64_t multiple : {4, 12})
      if (tiles >= rows * multiple * threads) names.push_back(kernel + "/own" + std::to_string(rows * multiple));
    if (tiles > 48 * rows) names.push_back(kernel + "/team" + std::to_string(24 * rows));
    if (tiles <= kMostRowTiles * rows) names.push_back(kernel + "/team" + std::to_string(round_up(tiles, rows)));
    return names;
  }

  int64_t count() const { return g_.images * down_ * across_; }
  int64_t chunk() const { return chunk_; }  // tiles at a time
  int64_t alpha() const { return m_ + 2; }
  int64_t matrices() const { return alpha() * alpha(); }
  int64_t phases() const { return team_ ? 3 * divide_up(count(), chunk_) : 1; }
  bool team() const { return team_; }

  // One run, or one phase of it. input(tile, slot) and output(tile, slot) transform a tile into and out of its slot of the
  // chunk; multiply(position, first, last, n) makes panels [first, last) of the product at a position, for n tiles.
  template <class Input, class Multiply, class Output>
  void run(Team& team, int64_t panels, Input input, Multiply multiply, Output output) const {
    if (!team_) {
      team.each(divide_up(count(), chunk_), 1, [&](int64_t chunk, int64_t) {
        const int64_t first = chunk * chunk_, n = std::min(count() - first, chunk_);
        for (int64_t slot = 0; slot < n; ++slot) input(first + slot, slot);
        for (int64_t p = 0; p < matrices(); ++p) multiply(p, 0, panels, n);
        for (int64_t slot = 0; slot < n; ++slot) output(first + slot, slot);
      });
      return;
    }
    const int64_t first = team.phase / 3 * chunk_, n = std::min(count() - first, chunk_);
    if (team.phase % 3 == 0) {
      team.each(n, 1, [&](int64_t slot, int64_t) { input(first + slot, slot); });
    } else if (team.phase % 3 == 1) {
      const int64_t parts = std::min<int64_t>(panels, kMostParts);
      team.each(matrices() * parts, 1, [&](int64_t index, int64_t) {
        const int64_t p = index / parts, part = index % parts;
        multiply(p, panels * part / parts, panels * (part + 1) / parts, n);
      });
    } else {
      team.each(n, 1, [&](int64_t slot, int64_t) { output(first + slot, slot); });
    }
  }

  // Of the transformed weights, one matrix after another from `weights` on, what a thread reads first.
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count, int64_t panels, Memory weights) const {
    if (team_ && phase % 3 != 1) return {};
    const int64_t parts = std::min<int64_t>(panels, kMostParts);
    const auto piece = team_ ? Team::own_first(matrices() * parts, index, count) : 0;
    if (!piece) return {};
    const uint64_t before = weights.bytes / static_cast<uint64_t>(matrices()) * static_cast<uint64_t>(*piece / parts);
    return {static_cast<const char*>(weights.data) + before, weights.bytes - before};
  }

  // The pixels of x under a tile, row by row; `outside` where there is none.
  template <class T>
  void pixels(const T* x, int64_t tile, const T* outside, const T** pixels) const {
    const auto [image, y, x0] = place(tile);
    const T* base = x + image * g_.in_pixels() * g_.inputs;
    for (int64_t i = 0; i < alpha(); ++i)
      for (int64_t j = 0; j < alpha(); ++j) {
        const int64_t iy = y - g_.pad_top + i * g_.dilation_y, ix = x0 - g_.pad_left + j * g_.dilation_x;
        const bool inside = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        pixels[i * alpha() + j] = inside ? base + (iy * g_.width + ix) * g_.inputs : outside;
      }
  }

  // Where the outputs of a tile go: fills y, residual, their strides and the extent of the arguments.
  template <class T, class Args>
  void outputs(T* y, const T* residual, int64_t tile, Args& args) const {
    const auto [image, oy, ox] = place(tile);
    const int64_t offset = ((image * g_.out_height + oy) * g_.out_width + ox) * g_.outputs;
    args.channels = g_.outputs;
    args.y = y + offset;
    args.residual = residual ? residual + offset : nullptr;
    args.y_row = g_.dilation_y * g_.out_width * g_.outputs;
    args.y_pixel = g_.dilation_x * g_.outputs;
    // None of a tile that begins behind the last output of its phase.
    args.rows = std::clamp<int64_t>(divide_up(g_.out_height - oy, g_.dilation_y), 0, m_);
    args.columns = std::clamp<int64_t>(divide_up(g_.out_width - ox, g_.dilation_x), 0, m_);
  }

 private:
  // Parts of the panels of one product, so that few positions still make enough pieces.
  static constexpr int64_t kMostParts = 8;

  struct Place {
    int64_t image, y, x;  // the first output
  };
  Place place(int64_t tile) const {
    const int64_t per_image = down_ * across_, at = tile % per_image;
    return {tile / per_image, first(at / across_, g_.dilation_y, g_.out_height),
            first(at % across_, g_.dilation_x, g_.out_width)};
  }
  // Tiles along an axis, those of all phases, and the first output of one.
  static int64_t tiles(int64_t out, int64_t dilation, int64_t m) {
    return std::min(out, dilation) * divide_up(divide_up(out, dilation), m);
  }
  int64_t first(int64_t tile, int64_t dilation, int64_t out) const {
    const int64_t phases = std::min(dilation, out);
    return tile % phases + tile / phases * m_ * dilation;
  }

  Geometry g_;
  int64_t m_, down_, across_, chunk_ = 0;
  bool team_ = false;
};

}  // namespace pw
