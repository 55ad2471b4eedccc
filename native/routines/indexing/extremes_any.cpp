// argmax, argmin and hardmax of numbers of any element type, along any axis. NaN is the largest number, and the smallest one of
// argmin, as in NumPy.
#include <cstring>

#include "routines/indexing/lines.h"

namespace pw {
namespace {

// Whether x takes the place of `best`, which comes before it.
template <bool Largest, bool Last, class V>
bool beats(V x, V best) {
  if constexpr (!std::is_floating_point_v<V>) return Last ? (Largest ? x >= best : x <= best) : (Largest ? x > best : x < best);
  else if constexpr (Last) return (Largest ? x >= best : x <= best) | (x != x);
  else return (Largest ? x > best : x < best) | ((x != x) & (best == best));
}

// Elements that are looked at together, and columns.
constexpr int64_t kBlock = 1024, kLanes = 16, kColumns = 128, kRows = 1 << 30;

// The extreme of n elements, kLanes at least, of which NaN are left out; `nan`: whether there are some.
template <bool Largest, class T>
auto extreme_of(const T* x, int64_t n, bool& nan) noexcept {
  using V = decltype(compared(T{}));
  V lanes[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) lanes[j] = compared(x[j]);
  int64_t k = kLanes;
  for (; k + kLanes <= n; k += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) {
      const V v = compared(x[k + j]);
      lanes[j] = (Largest ? v > lanes[j] : v < lanes[j]) ? v : lanes[j];
    }
  for (; k < n; ++k) {
    const V v = compared(x[k]);
    lanes[0] = (Largest ? v > lanes[0] : v < lanes[0]) ? v : lanes[0];
  }
  if constexpr (std::is_floating_point_v<V>) {
    int any = 0;
    for (int64_t i = 0; i < n; ++i) any |= compared(x[i]) != compared(x[i]);
    nan = any != 0;
  }
  V best = lanes[0];
  for (int64_t j = 1; j < kLanes; ++j) best = (Largest ? lanes[j] > best : lanes[j] < best) ? lanes[j] : best;
  return best;
}

// The index of the extreme of a row.
template <bool Largest, bool Last, class T>
int64_t find_in_row(const T* x, int64_t n) noexcept {
  using V = decltype(compared(T{}));
  V best = compared(x[0]);
  int64_t at = 0;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t last = std::min(n, first + kBlock);
    bool nan = false;
    if (last - first >= kLanes) {
      const V v = extreme_of<Largest>(x + first, last - first, nan);
      if (!nan && first > 0 && !beats<Largest, Last>(v, best)) continue;
      if (!nan) {
        best = v;
        if constexpr (Last) for (at = last - 1; compared(x[at]) != v;) --at;
        else for (at = first; compared(x[at]) != v;) ++at;
        continue;
      }
    }
    for (int64_t k = std::max<int64_t>(1, first); k < last; ++k)
      if (const V v = compared(x[k]); beats<Largest, Last>(v, best)) best = v, at = k;
  }
  return at;
}

// The indices of the extremes of n columns, at most kColumns.
template <bool Largest, bool Last, class T>
void find(const T* x, int64_t length, int64_t inner, int64_t n, int64_t* to) noexcept {
  if (inner == 1) {
    *to = find_in_row<Largest, Last>(x, length);
    return;
  }
  using V = decltype(compared(T{}));
  // Indices are as wide as the numbers beside them, so that both are chosen in one vector.
  using Index = std::conditional_t<sizeof(V) == 8, int64_t, int32_t>;
  V best[kColumns];
  Index at[kColumns];
  for (int64_t c = 0; c < n; ++c) best[c] = compared(x[c]), to[c] = 0;
  for (int64_t k0 = 1; k0 < length; k0 += kRows) {
    const auto rows = static_cast<Index>(std::min(kRows, length - k0));
    for (int64_t c = 0; c < n; ++c) at[c] = -1;
    for (Index k = 0; k < rows; ++k) {
      const T* row = x + (k0 + k) * inner;
      for (int64_t c = 0; c < n; ++c) {
        const V v = compared(row[c]);
        const bool takes = beats<Largest, Last>(v, best[c]);
        best[c] = takes ? v : best[c];
        at[c] = takes ? k : at[c];
      }
    }
    for (int64_t c = 0; c < n; ++c) to[c] = at[c] < 0 ? to[c] : k0 + at[c];
  }
}

// body(o, first column, columns) for all lines of a value.
template <class Body>
void each_block(const Along& a, Team& team, Body&& body) {
  const int64_t blocks = (a.inner + kColumns - 1) / kColumns;
  in_pieces(team, a.outer * blocks, 1, a.outer * a.length * a.inner, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t c0 = i % blocks * kColumns;
      body(i / blocks, c0, std::min(kColumns, a.inner - c0));
    }
  });
}

class ExtremeKernel : public AnyKernel {
 public:
  ExtremeKernel(const Problem& p, const Constants& constants, bool largest)
      : AnyKernel(p, constants, Layout::nchw), axis_(axis_from_front(p)), dtype_(p.in[0].dtype), largest_(largest),
        last_(p.integer("select_last") != 0) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const Along a(x, axis_);
    auto* y = static_cast<int64_t*>(c.out[0]);
    with_type(dtype_, [&](auto tag) {
      const auto* from = x.as<typename decltype(tag)::type>();
      const auto search = [&]<bool Largest, bool Last>() {
        each_block(a, c.team, [&](int64_t o, int64_t c0, int64_t n) {
          find<Largest, Last>(from + o * a.length * a.inner + c0, a.length, a.inner, n, y + o * a.inner + c0);
        });
      };
      if (largest_ && last_) search.template operator()<true, true>();
      else if (largest_) search.template operator()<true, false>();
      else if (last_) search.template operator()<false, true>();
      else search.template operator()<false, false>();
    });
    return 0;
  }

 private:
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

class HardmaxKernel : public AnyKernel {
 public:
  HardmaxKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(axis_from_front(p)), dtype_(p.in[0].dtype) {
    store_number(dtype_, "1", one_);
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const Along a(x, axis_);
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T one, zero{};
      std::memcpy(static_cast<void*>(&one), one_, sizeof one);
      each_block(a, c.team, [&](int64_t o, int64_t c0, int64_t n) {
        int64_t at[kColumns];
        const int64_t start = o * a.length * a.inner + c0;
        T* y = static_cast<T*>(c.out[0]) + start;
        find<true, false>(x.as<T>() + start, a.length, a.inner, n, at);
        if (a.inner == 1) std::fill(y, y + a.length, zero);
        else for (int64_t k = 0; k < a.length; ++k) std::fill(y + k * a.inner, y + k * a.inner + n, zero);
        for (int64_t j = 0; j < n; ++j) y[at[j] * a.inner + j] = one;
      });
    });
    return 0;
  }

 private:
  int axis_;
  DType dtype_;
  alignas(8) unsigned char one_[8] = {};
};

class Hardmax : public AnyRoutine {
 public:
  Hardmax() : AnyRoutine("hardmax", "scan") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("it takes one value");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in[0].shape.empty()) return Verdict::no("a scalar has no axis");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<HardmaxKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Extreme>("argmax", true);
  c.add<Extreme>("argmin", false);
  c.add<Hardmax>();
}
}  // namespace PW_COLLECT

}  // namespace pw
