// argmax, argmin and topk, of numbers of any element type, along any axis. NaN is the largest number, and the smallest one of
// argmin, as in NumPy.
#include <algorithm>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// What elements are compared as.
template <class T>
auto compared(T x) {
  if constexpr (kHalf<T>) return as_float(x);
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<uint8_t>(x);
  else return x;
}

int axis_of(const Problem& p) {
  const int64_t axis = p.integer("axis");
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(p.in[0].shape.size()) : axis);
}

// A value as outer x length x inner.
struct Along {
  int64_t outer = 1, length, inner = 1;
  Along(const Operand& x, int axis) : length(x.size[axis]) {
    for (int i = 0; i < axis; ++i) outer *= x.size[i];
    for (int i = axis + 1; i < x.rank; ++i) inner *= x.size[i];
  }
};

// Whether x takes the place of `best`, which comes before it.
template <bool Largest, bool Last, class V>
bool beats(V x, V best) {
  if constexpr (Last) return (Largest ? x >= best : x <= best) || x != x;
  else return (Largest ? x > best : x < best) || (x != x && best == best);
}

class ExtremeKernel : public AnyKernel {
 public:
  ExtremeKernel(const Problem& p, const Constants& constants, bool largest)
      : AnyKernel(p, constants, Layout::nchw), axis_(axis_of(p)), dtype_(p.in[0].dtype), largest_(largest),
        last_(p.integer("select_last") != 0) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const Along along(x, axis_);
    auto* y = static_cast<int64_t*>(c.out[0]);
    with_type(dtype_, [&](auto tag) {
      const auto* from = x.as<typename decltype(tag)::type>();
      if (largest_ && last_) find<true, true>(from, y, along, c.team);
      else if (largest_) find<true, false>(from, y, along, c.team);
      else if (last_) find<false, true>(from, y, along, c.team);
      else find<false, false>(from, y, along, c.team);
    });
    return 0;
  }

 private:
  static constexpr int64_t kColumns = 128;

  template <bool Largest, bool Last, class T>
  static void find(const T* x, int64_t* y, const Along& a, Team& team) noexcept {
    using V = decltype(compared(T{}));
    const int64_t blocks = (a.inner + kColumns - 1) / kColumns, total = a.outer * a.length * a.inner;
    in_pieces(team, a.outer * blocks, 1, total, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t o = i / blocks, c0 = i % blocks * kColumns, n = std::min(kColumns, a.inner - c0);
        const T* from = x + o * a.length * a.inner + c0;
        int64_t* to = y + o * a.inner + c0;
        V best[kColumns];
        for (int64_t c = 0; c < n; ++c) best[c] = compared(from[c]), to[c] = 0;
        for (int64_t k = 1; k < a.length; ++k)
          for (int64_t c = 0; c < n; ++c) {
            const V v = compared(from[k * a.inner + c]);
            if (beats<Largest, Last>(v, best[c])) best[c] = v, to[c] = k;
          }
      }
    });
  }

  int axis_;
  DType dtype_;
  bool largest_, last_;
};

class Extreme : public AnyRoutine {
 public:
  Extreme(const std::string& layer, bool largest) : AnyRoutine(layer, "scan"), largest_(largest) {}
  Verdict accepts(const Problem& p) const override { return p.in.size() == 1 ? basics(p) : Verdict::no("it takes one value"); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<ExtremeKernel>(p, constants, largest_);
  }

 private:
  bool largest_;
};

class TopKernel : public AnyKernel {
 public:
  TopKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(axis_of(p)), dtype_(p.in[0].dtype), largest_(p.integer("largest") != 0),
        length_(p.in[0].shape[static_cast<size_t>(axis_)]), threads_(p.threads) {}
  // Indices of one row, per thread.
  size_t workspace_bytes() const override { return static_cast<size_t>(length_ * threads_) * sizeof(int64_t); }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const Along along(x, axis_);
    const int64_t k = c.out_sizes[0][axis_];
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      find(x.as<T>(), static_cast<T*>(c.out[0]), static_cast<int64_t*>(c.out[1]), along, k, c);
    });
    return 0;
  }

 private:
  template <class T>
  void find(const T* x, T* y, int64_t* indices, const Along& a, int64_t k, const Context& c) const noexcept {
    const int64_t rows = a.outer * a.inner;
    in_pieces(c.team, rows, 1, rows * a.length * 4, [&](int64_t first, int64_t last) {
      int64_t* order = static_cast<int64_t*>(c.workspace) + c.team.index * length_;
      for (int64_t r = first; r < last; ++r) {
        const int64_t o = r / a.inner, i = r % a.inner, at = o * k * a.inner + i;
        const T* row = x + o * a.length * a.inner + i;
        sort(row, a.inner, a.length, order, k);
        for (int64_t j = 0; j < k; ++j) {
          y[at + j * a.inner] = row[order[j] * a.inner];
          indices[at + j * a.inner] = order[j];
        }
      }
    });
  }
  // The first k indices of a row in order; the lower one of two equal elements comes first.
  template <class T>
  void sort(const T* row, int64_t step, int64_t n, int64_t* order, int64_t k) const noexcept {
    for (int64_t j = 0; j < n; ++j) order[j] = j;
    const auto sorted = [&](auto before) {
      std::partial_sort(order, order + k, order + n, [&](int64_t i, int64_t j) {
        const auto a = compared(row[i * step]), b = compared(row[j * step]);
        return before(a, b) || (!before(b, a) && i < j);
      });
    };
    if (largest_) sorted([](auto a, auto b) { return a > b || (a != a && b == b); });
    else sorted([](auto a, auto b) { return a < b || (a == a && b != b); });
  }

  int axis_;
  DType dtype_;
  bool largest_;
  int64_t length_, threads_;
};

class Top : public AnyRoutine {
 public:
  Top() : AnyRoutine("topk", "sort") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("the number of elements comes from an input");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TopKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Extreme>("argmax", true);
  c.add<Extreme>("argmin", false);
  c.add<Top>();
}
}  // namespace PW_COLLECT

}  // namespace pw
