// What the routines of transpose share: dimensions that stay neighbours are merged, and what is left is copied in runs
// or transposed in blocks.
#pragma once
#include <utility>
#include <vector>

#include "routines/shaping/copied.h"
#include "values/vector.h"

namespace pw {

// True where a transpose between two layouts leaves the bytes where they are: the output's dimension i is the input's
// perm[i].
inline bool only_renames(const Problem& p, Layout source, Layout target) {
  const auto perm = p.integers("perm");
  std::vector<int> order;
  for (int d : memory_order(target, p.out[0].shape)) order.push_back(static_cast<int>(perm[static_cast<size_t>(d)]));
  return order == memory_order(source, p.in[0].shape);
}

struct PermutedDim {
  int64_t size, x, y;  // strides in elements
};

// All starts of the loops over some dimensions.
inline std::vector<std::pair<int64_t, int64_t>> starts_of(const std::vector<PermutedDim>& dims) {
  std::vector<std::pair<int64_t, int64_t>> starts{{0, 0}};
  for (const PermutedDim& d : dims) {
    std::vector<std::pair<int64_t, int64_t>> next;
    next.reserve(starts.size() * static_cast<size_t>(d.size));
    for (const auto& [x, y] : starts)
      for (int64_t i = 0; i < d.size; ++i) next.push_back({x + i * d.x, y + i * d.y});
    starts = std::move(next);
  }
  return starts;
}

// The dimensions of a transpose in one layout, in the output's order.
inline std::vector<PermutedDim> permuted_dims(Layout layout, const Problem& p) {
  const auto perm = p.integers("perm");
  const auto in = memory_dims(layout, p.in[0].shape), out = memory_dims(layout, p.out[0].shape);
  std::vector<PermutedDim> dims;
  int64_t y = p.out[0].count();
  for (const MemoryDim& d : out) {
    y /= d.size;
    int64_t x = 1;
    for (size_t i = in.size(); i-- > 0 && in[i].logical != perm[static_cast<size_t>(d.logical)];) x *= in[i].size;
    if (d.size == 1) continue;
    if (!dims.empty() && dims.back().x == x * d.size) dims.back() = {dims.back().size * d.size, x, y};
    else dims.push_back({d.size, x, y});
  }
  return dims;
}

template <class T, class Transpose, class Move = Copied<T>>
class PermuteKernel : public PieceKernel {
 public:
  // Dimensions in the output's order.
  PermuteKernel(const Transpose& kernel, std::vector<PermutedDim> dims, Move move = {})
      : kernel_(kernel), move_(std::move(move)) {
    if (dims.empty()) dims.push_back({1, 1, 1});
    const PermutedDim inner = dims.back();
    dims.pop_back();
    if (inner.x == 1) {
      run_ = inner.size;
      starts_ = starts_of(dims);
      return;
    }
    // `inner` runs along the output; some other dimension runs along the input.
    size_t along = dims.size();
    for (size_t i = 0; i < dims.size(); ++i)
      if (dims[i].x == 1) along = i;
    rows_ = inner.size;
    x_row_ = inner.x;
    if (along < dims.size()) {
      columns_ = dims[along].size;
      y_row_ = dims[along].y;
      dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(along));
    }
    starts_ = starts_of(dims);
  }
  size_t packed_bytes() const override { return starts_.size() * sizeof(starts_[0]) + move_.bytes(); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t n = static_cast<int64_t>(starts_.size());
    if (run_ > 0) {
      share_rows(team, 1, n, run_, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        for (int64_t r = r0; r < r1; ++r) {
          const auto [from, to] = starts_[static_cast<size_t>(r)];
          move_.apply(x + from + c0, y + to + c0, c1 - c0);
        }
      });
      return;
    }
    // Blocks of columns of every matrix.
    const int64_t block = std::max<int64_t>(64, 4096 / rows_ / 64 * 64), blocks = (columns_ + block - 1) / block;
    in_pieces(team, n * blocks, 1, n * rows_ * columns_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto [from, to] = starts_[static_cast<size_t>(i / blocks)];
        const int64_t c = i % blocks * block, columns = std::min(block, columns_ - c);
        T* target = y + to + c * y_row_;
        kernel_.run(x + from + c, x_row_, target, y_row_, rows_, columns);
        for (int64_t j = 0; j < columns && !move_.nothing(); ++j)
          move_.apply(target + j * y_row_, target + j * y_row_, rows_);
      }
    });
  }

 private:
  const Transpose& kernel_;
  Move move_;
  std::vector<std::pair<int64_t, int64_t>> starts_;
  int64_t run_ = 0;                             // elements that are contiguous on both sides, 0 = none
  int64_t rows_ = 1, columns_ = 1, x_row_ = 1, y_row_ = 1;  // of each matrix to transpose
};

}  // namespace pw
