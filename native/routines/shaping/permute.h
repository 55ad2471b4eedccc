// What the routines of transpose share: dimensions that stay neighbours are merged, and what is left is copied in runs
// or transposed in blocks. All of it goes by the sizes of the run.
#pragma once
#include <utility>
#include <vector>

#include "routines/shaping/copied.h"
#include "values/strided.h"
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

// The transpose in one layout as loops over the output in the order of its memory: steps in x and y.
inline void permuted_loops(const Operand& x, const Operand& y, const int64_t* perm, Loops<2>& loops) {
  int64_t from[kMostRank], to[kMostRank];
  steps_of(x, from);
  steps_of(y, to);
  for (int i = 0; i < y.rank; ++i) {
    const int axis = axis_in_memory(y.layout, i);
    loops.add(y.size[axis], {from[perm[axis]], to[axis]});
  }
}

// Transpose: TransposeF32 or one of its kind, or something that offers the same.
template <class T, class Transpose, class Move = Copied<T>>
class PermuteKernel : public PieceKernel {
 public:
  PermuteKernel(const Transpose& kernel, Layout images, const Problem& p, Move move = {})
      : kernel_(kernel), operands_(p, Constants(p.in.size()), images), perm_(p.integers("perm")), move_(std::move(move)) {}
  size_t packed_bytes() const override { return move_.bytes(); }
  bool open(size_t, size_t) const override { return true; }

  int run(const Context& c) noexcept override {
    const T* x = static_cast<const T*>(c.in[0]);
    T* y = static_cast<T*>(c.out[0]);
    Loops<2> outer;
    permuted_loops(operands_.in(0, c), operands_.out(0, c), perm_.data(), outer);
    if (outer.total == 0) return 0;
    const auto inner = outer.take_inner();
    if (inner.step[0] == 1 || inner.size == 1) runs(x, y, outer, inner.size, c.team);
    else matrices(x, y, outer, inner.size, inner.step[0], c.team);
    return 0;
  }

 private:
  // `length` elements that are contiguous on both sides, per turn of the loops.
  void runs(const T* x, T* y, const Loops<2>& loops, int64_t length, Team& team) const noexcept {
    share_rows(team, 1, loops.total, length, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
      each_turn(loops, r0, r1, [&](int64_t from, int64_t to) { move_.apply(x + from + c0, y + to + c0, c1 - c0); });
    });
  }
  // A matrix per turn of the loops without the one that runs along the input: `rows` of it run along the output.
  void matrices(const T* x, T* y, Loops<2>& loops, int64_t rows, int64_t x_row, Team& team) const noexcept {
    int64_t columns = 1, y_row = 1;
    for (int d = 0; d < loops.count; ++d)
      if (loops.loop[d].step[0] == 1) {
        columns = loops.loop[d].size;
        y_row = loops.loop[d].step[1];
        std::copy(loops.loop + d + 1, loops.loop + loops.count, loops.loop + d);
        --loops.count;
        loops.total /= columns;
        break;
      }
    // Blocks of columns of every matrix.
    const int64_t block = std::max<int64_t>(64, 4096 / rows / 64 * 64), blocks = (columns + block - 1) / block;
    in_pieces(team, loops.total * blocks, 1, loops.total * rows * columns, [&](int64_t first, int64_t last) {
      int64_t i = first;
      each_turn(loops, first / blocks, (last + blocks - 1) / blocks, [&](int64_t from, int64_t to) {
        for (const int64_t end = std::min(last, (i / blocks + 1) * blocks); i < end; ++i) {
          const int64_t c = i % blocks * block, n = std::min(block, columns - c);
          T* target = y + to + c * y_row;
          kernel_.run(x + from + c, x_row, target, y_row, rows, n);
          for (int64_t j = 0; j < n && !move_.nothing(); ++j) move_.apply(target + j * y_row, target + j * y_row, rows);
        }
      });
    });
  }
  // Turns [first, last) one by one: body(offset of x, offset of y).
  template <class Body>
  static void each_turn(const Loops<2>& loops, int64_t first, int64_t last, Body&& body) noexcept {
    const int64_t x_step = loops.count ? loops.loop[loops.count - 1].step[0] : 0;
    const int64_t y_step = loops.count ? loops.loop[loops.count - 1].step[1] : 0;
    walk(loops, first, last, [&](const int64_t* offset, int64_t n) {
      for (int64_t i = 0; i < n; ++i) body(offset[0] + i * x_step, offset[1] + i * y_step);
    });
  }

  const Transpose& kernel_;
  RunOperands operands_;
  std::vector<int64_t> perm_;
  Move move_;
};

}  // namespace pw
