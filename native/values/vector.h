// What the memory-bound routines share: cards, checks, and the split of rows over a team.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "spi/activation.h"
#include "spi/routine.h"
#include "spi/ukernel.h"
#include "ukernels/kinds/activation.h"
#include "ukernels/kinds/binary_f32.h"
#include "values/stored.h"

namespace pw {

// Layouts that routines are written for; which ranks each is for, and what it means, types/format.h says.
constexpr Layout kAllLayouts[] = {Layout::plain, Layout::nchw, Layout::nhwc, Layout::nchw16c};
constexpr Layout kImageLayouts[] = {Layout::nchw, Layout::nhwc, Layout::nchw16c};
// Those of values in fewer bits: channels last, and the ranks other than 4.
constexpr Layout kNarrowLayouts[] = {Layout::plain, Layout::nhwc};

// Below this many floats a step is done sooner by one thread than it is shared out.
constexpr int64_t kShared = 8192;

// Hands n items to body(first, last) in multiples of `grain`: some pieces for every thread, so that one that comes late
// leaves its share to the others; a single piece where `floats`, what they cost in all, is small.
template <class Body>
void in_pieces(Team& team, int64_t n, int64_t grain, int64_t floats, Body&& body) {
  const int64_t threads = team.count, blocks = (n + grain - 1) / grain;
  const int64_t pieces = floats < kShared ? 1 : threads * std::clamp<int64_t>(floats / (kShared * threads), 1, 4);
  team.each(n, std::max<int64_t>(1, (blocks + pieces - 1) / pieces) * grain, body);
}

// Hands outer x rows x columns to body(o, r0, r1, c0, c1): whole rows where there are enough of them, else ranges of
// columns of each row.
template <class Body>
void share_rows(Team& team, int64_t outer, int64_t rows, int64_t columns, Body&& body) {
  const int64_t all = outer * rows, total = all * columns;
  if (total >= kShared && all < 8 * static_cast<int64_t>(team.count) && columns >= 1024) {
    in_pieces(team, columns, 64, total, [&](int64_t c0, int64_t c1) {
      for (int64_t i = 0; i < all; ++i) body(i / rows, i % rows, i % rows + 1, c0, c1);
    });
    return;
  }
  in_pieces(team, all, std::max<int64_t>(1, 1024 / std::max<int64_t>(1, columns)), total,
            [&](int64_t first, int64_t last) {
              for (int64_t i = first; i < last;) {
                const int64_t o = i / rows, r0 = i % rows, r1 = std::min(rows, r0 + last - i);
                body(o, r0, r1, int64_t{0}, columns);
                i += r1 - r0;
              }
            });
}

// The logical dimensions in memory order, those of length 1 left out: two layouts with the same order of a shape hold
// the same bytes.
inline std::vector<int> memory_order(Layout layout, const Dims& shape) {
  std::vector<int> order;
  for (const MemoryDim& d : memory_dims(layout, shape))
    if (d.size != 1 && (order.empty() || order.back() != d.logical)) order.push_back(d.logical);
  return order;
}
inline bool row_major(Layout layout, const Dims& shape) {
  const auto order = memory_order(layout, shape);
  return std::is_sorted(order.begin(), order.end());
}

// Memory as outer x length x inner, `length` being all of the given axes.
struct Group {
  int64_t outer = 1, length = 1, inner = 1;
  bool together = true;  // the axes lie side by side
};
inline Group group_of(Layout layout, const Dims& shape, const std::vector<int64_t>& axes) {
  Group g;
  int stage = 0;  // before, among, behind the axes
  for (const MemoryDim& d : memory_dims(layout, shape)) {
    if (d.size == 1) continue;
    const bool chosen = std::find(axes.begin(), axes.end(), d.logical) != axes.end();
    if (chosen && stage == 2) g.together = false;
    if (chosen && stage == 0) stage = 1;
    if (!chosen && stage == 1) stage = 2;
    (stage == 0 ? g.outer : stage == 1 ? g.length : g.inner) *= d.size;
  }
  return g;
}

// What follows an element-wise kernel: y = act(y + residual). Clamping alone is left to the kernel itself.
template <class T>
class PostOf {
 public:
  PostOf(const Problem& p) : args_(*epilogue_activation(p)), add_(p.epilogue.add) {
    add_kernel_ = &best_ukernel<BinaryOf<T>>(stored_kind<T>(PW_KIND_BINARY));
    act_kernel_ = &best_ukernel<ActivationOf<T>>(stored_kind<T>(PW_KIND_ACTIVATION), args_.act);
  }
  static Verdict accepts(const Problem& p) { return applies(stored_kind<T>(PW_KIND_ACTIVATION), p.epilogue); }
  bool nothing() const { return !add_ && args_.act == Act::clip; }
  // Bounds for the kernel itself.
  float low() const { return nothing() ? args_.a : -kInfinity; }
  float high() const { return nothing() ? args_.b : kInfinity; }
  // Elements after which apply() is due, so that they are still in the first cache.
  static constexpr int64_t kChunk = 4096;
  // n contiguous elements of y and of the residual.
  void apply(T* y, const T* residual, int64_t n) const {
    const bool clip = args_.act == Act::clip;
    if (add_) {
      const BinaryArgs<T> add{Binary::add, y, residual, y, 1, n, n, n, false, false,
                              clip ? args_.a : -kInfinity, clip ? args_.b : kInfinity};
      add_kernel_->run(&add);
    }
    if (!clip) act_kernel_->run(&args_, y, y, n);
  }

 private:
  static constexpr float kInfinity = __builtin_inff();
  ActArgs args_;
  bool add_;
  const BinaryOf<T>* add_kernel_;
  const ActivationOf<T>* act_kernel_;
};
using Post = PostOf<float>;

// Base of the routines of this kind: a card, one variant (the best tier's micro-kernel of `kind`, "" = none is needed),
// and ports that all have one layout and `dtype`, a form of f32 values.
class VectorRoutine : public Routine {
 public:
  VectorRoutine(const std::string& layer, const std::string& algorithm, Layout layout, std::string kind = "",
                bool takes_epilogue = false, DType dtype = DType::f32)
      : Routine({.id = layer + "/" + algorithm + ":" + pw::text(dtype) + ":" + pw::text(layout) + ":cpu",
                 .accuracy = dtype == DType::f32 ? Accuracy::strict
                             : dtype == DType::u8 ? Accuracy::quantised : Accuracy::reduced,
                 .takes_epilogue = takes_epilogue}),
        layout_(layout),
        kind_(std::move(kind)),
        dtype_(dtype) {}
  std::vector<std::string> variants(const Problem&) const override {
    return kind_.empty() ? std::vector<std::string>{""} : ukernel_names(kind_);
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, images(), dtype_); }

 protected:
  // Where values of rank 4 lie; in a routine for the other ranks in the order of rows: in nchw or, in 16 bits, for which
  // there is no nchw, in nhwc where that holds the same bytes.
  Layout images() const {
    if (layout_ != Layout::plain) return layout_;
    return narrow() ? Layout::nhwc : Layout::nchw;
  }
  bool narrow() const { return dtype_ != DType::f32 && dtype_ != DType::u8; }

  // f32 throughout, nothing empty, no epilogue unless the card takes it, every value fits, and `deciding` has the rank
  // that this instance is for.
  Verdict basics(const Problem& p, const Tensor& deciding) const {
    if (p.epilogue && !card_.takes_epilogue) return Verdict::no("it takes no epilogue");
    if (p.epilogue)
      if (auto verdict = Post::accepts(p); !verdict) return verdict;
    if (!of_rank(layout_, deciding.shape.size()))
      return Verdict::no(layout_ == Layout::plain ? "rank 4 has routines of its own" : "the rank is not 4");
    for (const auto* list : {&p.in, &p.out})
      for (const Tensor& t : *list) {
        if (!t.present) continue;
        if (t.dtype != DType::f32)
          return Verdict::no(std::string("an element type is ") + pw::text(t.dtype) + ", not f32");
        if (t.count() == 0) return Verdict::no("a tensor is empty");
        if (t.constant || t.shape.size() != 4) continue;
        if (!fits(images(), t.shape))
          return Verdict::no("channels " + std::to_string(t.shape[1]) + " are not a multiple of 16");
        if (layout_ == Layout::plain && narrow() && !row_major(Layout::nhwc, t.shape))
          return Verdict::no("a value of rank 4 lies in nhwc, which is not the order of rows for its shape");
      }
    return Verdict::ok();
  }

  // The same ports for a kernel whose first output may overwrite its first value.
  static Ports in_place(Ports ports) {
    ports.reuse.push_back({0, 0});
    return ports;
  }

  Layout layout_;
  std::string kind_;
  DType dtype_;
};

}  // namespace pw
