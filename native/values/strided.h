// Loops over operands that lie in memory as the sizes of one run say: what routines of any element type are made of.
// Nothing here allocates, so that all of it may be done in Kernel::run.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/size.h"
#include "spi/routine.h"
#include "values/vector.h"

namespace pw {

// A tile splits each axis into two loops.
constexpr int kMostLoops = 2 * static_cast<int>(kMostRank);

// One input or output in one run: dense, with logical sizes.
struct Operand {
  const void* data;
  const int64_t* size;
  int rank;
  Layout layout;

  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= size[i];
    return n;
  }
  template <class T>
  const T* as() const { return static_cast<const T*>(data); }
};

// The logical axis that is the i-th in memory, outermost first, in a layout without blocks.
inline int axis_in_memory(Layout layout, int i) {
  const LayoutFacts& known = facts(layout);
  return i < known.rank ? known.order[static_cast<size_t>(i)] : i;
}

// Elements from one index of each logical axis to the next.
inline void steps_of(const Operand& o, int64_t* step) {
  const LayoutFacts& known = facts(o.layout);
  int64_t next = 1;
  for (int i = o.rank; i-- > 0;) {
    const int axis = i < known.rank ? known.order[static_cast<size_t>(i)] : i;
    step[axis] = next;
    next *= o.size[axis];
  }
}

// The layout of a value of some rank where those that `images` is for lie in that.
inline Layout layout_of(Layout images, size_t rank) { return of_rank(images, rank) ? images : plain_layout(rank); }

// The inputs and outputs of a problem as runs find them: constants where they are, values with the sizes of the run.
class RunOperands {
 public:
  RunOperands(const Problem& p, const Constants& constants, Layout images) {
    int next = 0;
    const auto layout = [&](const Tensor& t, bool constant) {
      return constant ? plain_layout(t.shape.size()) : layout_of(images, t.shape.size());
    };
    for (size_t i = 0; i < p.in.size(); ++i) {
      const Tensor& t = p.in[i];
      const bool value = t.present && !t.constant;
      in_.push_back({value || !t.present ? nullptr : constants[i].data, value ? next++ : -1, t.shape, layout(t, !value)});
    }
    for (const Tensor& t : p.out) out_.push_back({nullptr, 0, t.shape, layout(t, false)});
  }
  // Input `i` of the problem, and output `i`.
  Operand in(size_t i, const Context& c) const {
    const Entry& e = in_[i];
    const int rank = static_cast<int>(e.shape.size());
    if (e.value < 0) return {e.constant, e.shape.data(), rank, e.layout};
    return {c.in[e.value], c.in_sizes[e.value], rank, e.layout};
  }
  Operand out(size_t i, const Context& c) const {
    return {c.out[i], c.out_sizes[i], static_cast<int>(out_[i].shape.size()), out_[i].layout};
  }
  size_t inputs() const { return in_.size(); }
  size_t outputs() const { return out_.size(); }

 private:
  struct Entry {
    const void* constant;
    int value;  // index among the dynamic inputs, -1 for constants and what is absent
    Dims shape;
    Layout layout;
  };
  std::vector<Entry> in_, out_;
};

// Nested loops, the outermost first, with what each adds to the offsets of N operands, in elements.
template <int N>
struct Loops {
  struct Loop {
    int64_t size;
    int64_t step[N];
  };
  int count = 0;
  int64_t start[N] = {};
  int64_t total = 1;
  Loop loop[kMostLoops];  // the first `count`

  // One more, inside of the others; it becomes one with the loop around it where that only goes on.
  void add(int64_t n, const int64_t (&step)[N]) {
    total *= n;
    if (n == 1) return;
    if (count > 0) {
      Loop& around = loop[count - 1];
      bool goes_on = true;
      for (int k = 0; k < N; ++k) goes_on = goes_on && around.step[k] == step[k] * n;
      if (goes_on) {
        around.size *= n;
        for (int k = 0; k < N; ++k) around.step[k] = step[k];
        return;
      }
    }
    loop[count].size = n;
    for (int k = 0; k < N; ++k) loop[count].step[k] = step[k];
    ++count;
  }
  // The innermost loop taken out: a loop of one turn where there is none.
  Loop take_inner() {
    if (count == 0) {
      Loop one{1, {}};
      return one;
    }
    const Loop inner = loop[--count];
    total = inner.size ? total / inner.size : 0;
    return inner;
  }
};

// Turns [first, last) of all loops in order, in runs along the innermost: body(offsets, n).
template <int N, class Body>
void walk(const Loops<N>& loops, int64_t first, int64_t last, Body&& body) {
  int64_t at[kMostLoops], offset[N];
  for (int k = 0; k < N; ++k) offset[k] = loops.start[k];
  if (first >= last) return;
  const int inner = loops.count - 1;
  if (inner < 0) return body(offset, int64_t{1});
  int64_t rest = first;
  for (int d = inner; d >= 0; --d) {
    const auto& l = loops.loop[d];
    at[d] = rest == 0 ? 0 : rest % l.size;
    rest = rest == 0 ? 0 : rest / l.size;
    for (int k = 0; k < N; ++k) offset[k] += at[d] * l.step[k];
  }
  const auto& row = loops.loop[inner];
  for (int64_t i = first;;) {
    const int64_t n = std::min(row.size - at[inner], last - i);
    body(offset, n);
    i += n;
    if (i >= last) return;
    for (int k = 0; k < N; ++k) offset[k] -= at[inner] * row.step[k];
    at[inner] = 0;
    for (int d = inner - 1; d >= 0; --d) {
      const auto& l = loops.loop[d];
      for (int k = 0; k < N; ++k) offset[k] += l.step[k];
      if (++at[d] < l.size) break;
      at[d] = 0;
      for (int k = 0; k < N; ++k) offset[k] -= l.size * l.step[k];
    }
  }
}

// The offsets at which turn `i` of all loops begins.
template <int N>
void start_of(const Loops<N>& loops, int64_t i, int64_t (&offset)[N]) noexcept {
  for (int k = 0; k < N; ++k) offset[k] = loops.start[k];
  for (int d = loops.count - 1; d >= 0; --d) {
    const auto& l = loops.loop[d];
    const int64_t at = d == 0 ? i : i % l.size;
    for (int k = 0; k < N; ++k) offset[k] += at * l.step[k];
    if (d > 0) i /= l.size;
  }
}

// The loops over an output in the order of its memory, with the steps of the inputs that broadcast to it; the last operand is
// the output.
template <int N>
void broadcast_loops(const Operand* in, const Operand& out, Loops<N + 1>& loops) {
  int64_t step[N][kMostRank], own[kMostRank];
  for (int k = 0; k < N; ++k) steps_of(in[k], step[k]);
  steps_of(out, own);
  for (int i = 0; i < out.rank; ++i) {
    const int axis = axis_in_memory(out.layout, i);
    int64_t steps[N + 1];
    for (int k = 0; k < N; ++k) {
      const int d = axis - (out.rank - in[k].rank);
      steps[k] = d < 0 || in[k].size[d] == 1 ? 0 : step[k][d];
    }
    steps[N] = own[axis];
    loops.add(out.size[axis], steps);
  }
}

// Which axes of a kernel's ports may be shorter in a run: all but channels that lie in blocks.
class OpenAxes {
 public:
  OpenAxes(const Ports& ports) {
    for (const auto* list : {&ports.in, &ports.out})
      for (const Format& f : *list) blocks_.push_back(facts(f.layout).block != 0);
  }
  bool operator()(size_t port, size_t axis) const { return !(blocks_[port] && axis == 1); }

 private:
  std::vector<char> blocks_;
};

// Base of the routines of any element type: values lie in the order of rows, those of rank 4 in nchw or in the routine's
// layout, each in its own element type.
class AnyRoutine : public Routine {
 public:
  AnyRoutine(const std::string& layer, const std::string& algorithm, Layout images = Layout::nchw)
      : Routine({.id = layer + "/" + algorithm + ":any:" + pw::text(images == Layout::nchw ? Layout::plain : images) + ":cpu"}),
        images_(images) {}

  // Behind the routines for f32 where both accept.
  Ports ports(const Problem& p) const override {
    Ports ports;
    const auto format = [&](const Tensor& t) {
      return Format{t.dtype, layout_of(images_, t.shape.size()), "cpu"};
    };
    for (int i : p.dynamic()) ports.in.push_back(format(p.in[static_cast<size_t>(i)]));
    for (const Tensor& t : p.out) ports.out.push_back(format(t));
    ports.order = 1;
    return ports;
  }

 protected:
  // Other layouts than that of rows need a value that can lie in them. All constants: nothing is left to do in a run.
  Verdict basics(const Problem& p, bool takes_constants_alone = false) const {
    bool image = false;
    for (const auto* list : {&p.in, &p.out})
      for (const Tensor& t : *list) image = image || (t.present && !t.constant && of_rank(images_, t.shape.size()));
    if (!facts(images_).row_major() && !image) return Verdict::no("no value has the layout's rank");
    if (p.dynamic().empty() && !takes_constants_alone) return Verdict::no("all inputs are constants");
    return Verdict::ok();
  }
  // Declines what the routines in f32 compute: values of f32, none of them empty.
  static Verdict not_f32(const Problem& p) {
    bool floats = true;
    for (const auto* list : {&p.in, &p.out})
      for (const Tensor& t : *list) floats = floats && (!t.present || (t.dtype == DType::f32 && t.count() > 0));
    return floats ? Verdict::no("f32 has routines of its own") : Verdict::ok();
  }

  Layout images_;
};

// Base of their kernels: any axis may be shorter in a run.
class AnyKernel : public PieceKernel {
 public:
  AnyKernel(const Problem& p, const Constants& constants, Layout images) : operands_(p, constants, images) {}
  bool open(size_t, size_t) const override { return true; }

 protected:
  RunOperands operands_;
};

// Calls body(T{}) with an unsigned integer of that many bytes: for elements that are moved as they are.
template <class Body>
decltype(auto) with_bytes(size_t bytes, Body&& body) {
  switch (bytes) {
    case 1: return body(uint8_t{});
    case 2: return body(uint16_t{});
    case 4: return body(uint32_t{});
    default: return body(uint64_t{});
  }
}

}  // namespace pw
