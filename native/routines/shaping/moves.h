// What the movers of any element type share: copies along loops, and cards for elements that are moved as they are.
#pragma once
#include <cstring>

#include "values/strided.h"

namespace pw {

// n elements from every x_step-th to every y_step-th.
template <class T>
void copy_run(const T* x, int64_t x_step, T* y, int64_t y_step, int64_t n) noexcept {
  if (y_step == 1 && x_step == 1) {
    if (n < 8) for (int64_t i = 0; i < n; ++i) y[i] = x[i];
    else std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  } else if (y_step == 1 && x_step == 0) {
    std::fill(y, y + n, *x);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_step] = x[i * x_step];
  }
}

// Copies along loops over (x, y).
template <class T>
void copy_loops(const Loops<2>& loops, const void* x, void* y, Team& team) noexcept {
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(y);
  const int64_t x_step = loops.count ? loops.loop[loops.count - 1].step[0] : 1;
  const int64_t y_step = loops.count ? loops.loop[loops.count - 1].step[1] : 1;
  in_pieces(team, loops.total, 1024, loops.total, [&](int64_t first, int64_t last) {
    walk(loops, first, last, [&](const int64_t* offset, int64_t n) {
      copy_run(from + offset[0], x_step, to + offset[1], y_step, n);
    });
  });
}
inline void copy_loops(size_t bytes, const Loops<2>& loops, const void* x, void* y, Team& team) noexcept {
  with_bytes(bytes, [&](auto unit) { copy_loops<decltype(unit)>(loops, x, y, team); });
}

// Base of the routines that move the elements of one input, whatever their type: of a value, or of a constant whose output
// has sizes that are known in the run alone. `f32`: of values of f32 too; other routines do not.
class Mover : public AnyRoutine {
 public:
  Mover(const std::string& layer, const std::string& algorithm, Layout images, bool f32)
      : AnyRoutine(layer, algorithm, images), f32_(f32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || !p.in[0].present) return Verdict::no("it takes one input, and numbers as attributes");
    if (auto verdict = basics(p, true); !verdict) return verdict;
    return f32_ ? Verdict::ok() : others(p);
  }

 protected:
  // Declines what the routines in f32 compute, which read no constants.
  static Verdict others(const Problem& p) { return p.in[0].constant ? Verdict::ok() : not_f32(p); }

 private:
  bool f32_;
};

// Base of their kernels.
class MoverKernel : public AnyKernel {
 public:
  MoverKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), bytes_(size_of(p.in[0].dtype)) {}

 protected:
  size_t bytes_;  // of an element
};

constexpr Layout kRowsAndNhwc[] = {Layout::nchw, Layout::nhwc};

}  // namespace pw
