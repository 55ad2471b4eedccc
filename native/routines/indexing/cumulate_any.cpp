// cumsum and cumprod of any element type along any axis. Floats and halves are combined in double and rounded once, integers
// wrap. A long axis is cut into parts of kPart elements, whatever the number of threads: the totals of all parts come first.
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr int64_t kPart = 4096;
// Places beside the axis that go along it together.
constexpr int64_t kColumns = 128, kChains = 8;

// What elements are combined in.
template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;

template <class T>
Sum<T> wide(T x) noexcept {
  if constexpr (kHalf<T>) return static_cast<double>(as_float(x));
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<double>(static_cast<uint8_t>(x));
  else return static_cast<Sum<T>>(x);
}
template <class T>
T narrow(Sum<T> x) noexcept {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(x);
  else return number_as<T>(x);
}

template <bool Product, class S>
S combined(S a, S b) noexcept { return Product ? a * b : a + b; }

// How a value lies around the axis in one run.
struct Lines {
  int64_t outer = 1, length, inner = 1, parts;
  Lines(const Operand& x, int axis) : length(x.size[axis]) {
    for (int i = 0; i < axis; ++i) outer *= x.size[i];
    for (int i = axis + 1; i < x.rank; ++i) inner *= x.size[i];
    parts = std::max<int64_t>(1, (length + kPart - 1) / kPart);
    // Enough lines beside each other: they need no parts.
    if (outer * ((inner + kColumns - 1) / kColumns) >= 64) parts = 1;
  }
  int64_t part() const { return parts == 1 ? length : kPart; }
};

class CumulateKernel : public AnyKernel {
 public:
  CumulateKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), dtype_(p.in[0].dtype), product_(p.kind == "cumprod"),
        exclusive_(p.integer("exclusive") != 0), reverse_(p.integer("reverse") != 0), given_(p.has(1)),
        axis_(given_ ? 0 : p.integer("axis")), wide_axis_(given_ && p.in[1].dtype == DType::i64) {
    const Dims& shape = p.in[0].shape;
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t axis = axis_ < 0 ? axis_ + static_cast<int64_t>(shape.size()) : axis_;
      if (shape[i] > kPart && !given_ && static_cast<int64_t>(i) == axis) {
        const int64_t beside = p.in[0].count() / shape[i];
        most_ = std::max(most_, beside * ((shape[i] + kPart - 1) / kPart));
      }
    }
  }
  // Totals of parts, the parts before them, and all elements; or the last of these alone.
  int64_t phases() const override { return most_ ? 3 : 1; }
  size_t workspace_bytes() const override { return static_cast<size_t>(most_) * 8; }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    int64_t axis = axis_;
    if (given_) return at_axis(c, x, operands_.in(1, c));
    if (axis < 0) axis += x.rank;
    along(c, x, static_cast<int>(axis));
    return 0;
  }

 private:
  // The axis is a value: all of it is one piece, for a thread that comes late may find other contents there.
  int at_axis(const Context& c, const Operand& x, const Operand& a) const noexcept {
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      int64_t axis = wide_axis_ ? *a.as<int64_t>() : *a.as<int32_t>();
      axis += axis < 0 ? x.rank : 0;
      if (axis < 0 || axis >= x.rank) code = kOutside;
      else whole(c, x, static_cast<int>(axis));
    });
    return code;
  }
  template <class Body>
  void with_way(Body&& body) const noexcept {
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (product_) body.template operator()<true, T>();
      else body.template operator()<false, T>();
    });
  }
  // By one thread, in the order of all others.
  void whole(const Context& c, const Operand& x, int axis) const noexcept {
    const Lines l(x, axis);
    with_way([&]<bool Product, class T>() {
      for (int64_t o = 0; o < l.outer; ++o)
        for (int64_t i = 0; i < l.inner; i += kColumns) {
          Sum<T> before[kColumns];
          const int64_t n = std::min(kColumns, l.inner - i);
          for (int64_t j = 0; j < n; ++j) before[j] = Product;
          for (int64_t part = 0; part < l.parts; ++part) {
            Sum<T> sum[kColumns];
            for (int64_t j = 0; j < n; ++j) sum[j] = before[j];
            columns<Product, T, true>(x.as<T>(), static_cast<T*>(c.out[0]), l, o, part, i, n, sum);
            for (int64_t j = 0; j < n; ++j) sum[j] = Product;
            columns<Product, T, false>(x.as<T>(), nullptr, l, o, part, i, n, sum);
            for (int64_t j = 0; j < n; ++j) before[j] = combined<Product>(before[j], sum[j]);
          }
        }
    });
  }
  void along(const Context& c, const Operand& x, int axis) const noexcept {
    const Lines l(x, axis);
    with_way([&]<bool Product, class T>() {
      auto* totals = static_cast<Sum<T>*>(c.workspace);  // [outer][parts][inner]
      const bool last = c.team.phase + 1 == phases();
      if (c.team.phase == 1 && !last) return add_up<Product, T>(l, totals, c.team);
      if (!last && l.parts == 1) return;
      if (last) share<Product, T, true>(x.as<T>(), static_cast<T*>(c.out[0]), l, totals, c.team);
      else share<Product, T, false>(x.as<T>(), nullptr, l, totals, c.team);
    });
  }
  // What stands before each part, in place of its total.
  template <bool Product, class T>
  void add_up(const Lines& l, Sum<T>* totals, Team& team) const noexcept {
    if (l.parts == 1) return;
    in_pieces(team, l.outer * l.inner, 1, l.outer * l.inner * l.parts, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; ++i) {
        Sum<T>* at = totals + i / l.inner * l.parts * l.inner + i % l.inner;
        Sum<T> sum = Product;
        for (int64_t k = 0; k < l.parts; ++k, at += l.inner) {
          const Sum<T> next = combined<Product>(sum, *at);
          *at = sum;
          sum = next;
        }
      }
    });
  }
  // All parts of all lines: many columns side by side, or several lines that lie apart.
  template <bool Product, class T, bool Writes>
  void share(const T* x, T* y, const Lines& l, Sum<T>* totals, Team& team) const noexcept {
    const int64_t all = l.outer * l.parts, elements = l.outer * l.length * l.inner;
    if (l.inner >= kChains) {
      const int64_t blocks = (l.inner + kColumns - 1) / kColumns;
      in_pieces(team, all * blocks, 1, elements, [&](int64_t first, int64_t end) {
        for (int64_t i = first; i < end; ++i) {
          const int64_t row = i / blocks, c0 = i % blocks * kColumns, n = std::min(kColumns, l.inner - c0);
          Sum<T> sum[kColumns];
          for (int64_t j = 0; j < n; ++j) sum[j] = Writes && l.parts > 1 ? totals[row * l.inner + c0 + j] : Sum<T>{Product};
          columns<Product, T, Writes>(x, y, l, row / l.parts, row % l.parts, c0, n, sum);
          for (int64_t j = 0; j < n && !Writes; ++j) totals[row * l.inner + c0 + j] = sum[j];
        }
      });
      return;
    }
    in_pieces(team, all * l.inner, kChains, elements, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i += kChains) chains<Product, T, Writes>(x, y, l, totals, i, std::min(kChains, end - i));
    });
  }
  // n columns of one part, from c0 on.
  template <bool Product, class T, bool Writes>
  void columns(const T* x, T* y, const Lines& l, int64_t o, int64_t part, int64_t c0, int64_t n, Sum<T>* sum) const noexcept {
    const int64_t from = part * l.part(), to = std::min(l.length, from + l.part());
    const int64_t step = reverse_ ? -l.inner : l.inner, first = reverse_ ? l.length - 1 - from : from;
    const int64_t start = (o * l.length + first) * l.inner + c0;
    for (int64_t k = 0; k < to - from; ++k) {
      const T* row = x + start + k * step;
      T* out = Writes ? y + start + k * step : nullptr;
      if (Writes && exclusive_) {
        for (int64_t j = 0; j < n; ++j) {
          const Sum<T> v = wide(row[j]);
          out[j] = narrow<T>(sum[j]);
          sum[j] = combined<Product>(sum[j], v);
        }
      } else {
        for (int64_t j = 0; j < n; ++j) {
          sum[j] = combined<Product>(sum[j], wide(row[j]));
          if constexpr (Writes) out[j] = narrow<T>(sum[j]);
        }
      }
    }
  }
  // Up to kChains lines at once, so that one does not wait for the other's last sum.
  template <bool Product, class T, bool Writes>
  void chains(const T* x, T* y, const Lines& l, Sum<T>* totals, int64_t first, int64_t n) const noexcept {
    int64_t start[kChains], length[kChains], most = 0;
    Sum<T> sum[kChains];
    const int64_t step = reverse_ ? -l.inner : l.inner;
    for (int64_t j = 0; j < kChains; ++j) {
      const int64_t i = first + std::min(j, n - 1), row = i / l.inner, o = row / l.parts, from = row % l.parts * l.part();
      length[j] = j < n ? std::min(l.length, from + l.part()) - from : 0;
      start[j] = (o * l.length + (reverse_ ? l.length - 1 - from : from)) * l.inner + i % l.inner;
      sum[j] = Writes && l.parts > 1 ? totals[i] : Sum<T>{Product};
      most = std::max(most, length[j]);
    }
    int64_t together = most;
    for (int64_t j = 0; j < kChains; ++j) together = std::min(together, length[j]);
    const auto next = [&](int64_t j, int64_t k) {
      const int64_t at = start[j] + k * step;
      const Sum<T> before = sum[j];
      sum[j] = combined<Product>(before, wide(x[at]));
      if constexpr (Writes) y[at] = narrow<T>(exclusive_ ? before : sum[j]);
    };
    for (int64_t k = 0; k < together; ++k)
      for (int64_t j = 0; j < kChains; ++j) next(j, k);
    for (int64_t j = 0; j < kChains; ++j)
      for (int64_t k = together; k < length[j]; ++k) next(j, k);
    for (int64_t j = 0; j < n && !Writes; ++j) totals[first + j] = sum[j];
  }

  DType dtype_;
  bool product_, exclusive_, reverse_, given_;
  int64_t axis_;
  bool wide_axis_;
  int64_t most_ = 0;  // totals of parts
};

class Cumulate : public AnyRoutine {
 public:
  explicit Cumulate(const std::string& layer) : AnyRoutine(layer, "parts") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.in.size() > 2) return Verdict::no("it takes a value and an axis");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.has(1) && (p.in[1].count() != 1 || (p.in[1].dtype != DType::i32 && p.in[1].dtype != DType::i64)))
      return Verdict::no("the axis is not one i32 or i64");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<CumulateKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"cumsum", "cumprod"}) c.add<Cumulate>(layer);
}
}  // namespace PW_COLLECT

}  // namespace pw
