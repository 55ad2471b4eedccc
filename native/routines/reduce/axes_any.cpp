// reduce over any axes, of numbers of any element type: of f32 what the micro-kernels do not compute.
//
// Integers are added and multiplied in 64 bits, which wrap, and cut to their type; their mean is cut towards zero. Floats are
// added up in double. How a sum is split depends on the sizes alone.
#include <cmath>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// What an element is computed as, and what is added up.
template <class T>
auto widened(T x) {
  if constexpr (kHalf<T>) return static_cast<double>(as_float(x));
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<uint8_t>(x);
  else return x;
}
template <class V>
using Sum = std::conditional_t<std::is_floating_point_v<V>, double,
                               std::conditional_t<std::is_signed_v<V>, int64_t, uint64_t>>;

// Integers in unsigned numbers of 64 bits, which may wrap.
template <class S>
S plus(S a, S b) {
  if constexpr (std::is_integral_v<S>) return static_cast<S>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else return a + b;
}
template <class S>
S times_of(S a, S b) {
  if constexpr (std::is_integral_v<S>) return static_cast<S>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else return a * b;
}
// In the element's own type, as NumPy computes them before it adds up.
template <class V>
V size_of_number(V v) {
  if constexpr (std::is_integral_v<V>) return v < 0 ? static_cast<V>(-static_cast<uint64_t>(v)) : v;
  else return std::fabs(v);
}
template <class V>
V squared(V v) {
  if constexpr (std::is_integral_v<V>) return static_cast<V>(static_cast<uint64_t>(v) * static_cast<uint64_t>(v));
  else return v * v;
}

// Operations: `first` stands for none, `take` adds an element, `give` is the result of so many.
template <class V>
struct SumOf {
  using S = Sum<V>;
  static S first() { return 0; }
  static S take(S s, V v) { return plus<S>(s, static_cast<S>(v)); }
  static S give(S s, int64_t) { return s; }
};
template <class V>
struct MeanOf : SumOf<V> {
  using S = Sum<V>;
  static S give(S s, int64_t n) {
    if constexpr (std::is_integral_v<S>) return n == 0 ? 0 : s / static_cast<S>(n);
    else return s / static_cast<S>(n);
  }
};
template <class V>
struct ProductOf : SumOf<V> {
  using S = Sum<V>;
  static S first() { return 1; }
  static S take(S s, V v) { return times_of<S>(s, static_cast<S>(v)); }
};
template <class V>
struct SizesOf : SumOf<V> {
  using S = Sum<V>;
  static S take(S s, V v) { return plus<S>(s, static_cast<S>(size_of_number(v))); }
};
template <class V>
struct SquaresOf : SumOf<V> {
  using S = Sum<V>;
  static S take(S s, V v) {
    if constexpr (std::is_integral_v<V>) return plus<S>(s, static_cast<S>(squared(v)));
    else return s + static_cast<S>(v) * static_cast<S>(v);
  }
};
template <class V>
struct RootOf : SquaresOf<V> {
  using S = Sum<V>;
  static S give(S s, int64_t) { return std::sqrt(s); }
};
template <class V>
struct LogOf : SumOf<V> {
  using S = Sum<V>;
  static S give(S s, int64_t) { return std::log(s); }
};
// NaN wins.
template <class V>
struct LargestOf {
  using S = V;
  using L = std::numeric_limits<V>;
  static S first() { return L::has_infinity ? -L::infinity() : L::lowest(); }
  static S take(S s, V v) { return s > v || s != s ? s : v; }
  static S give(S s, int64_t) { return s; }
};
template <class V>
struct SmallestOf {
  using S = V;
  using L = std::numeric_limits<V>;
  static S first() { return L::has_infinity ? L::infinity() : L::max(); }
  static S take(S s, V v) { return s < v || s != s ? s : v; }
  static S give(S s, int64_t) { return s; }
};

// What lies in memory: loops over the results (steps in x and in y) and over what is reduced to one (steps in x).
struct Axes {
  Loops<2> kept;
  Loops<1> reduced;
};

// Columns that are reduced side by side.
constexpr int64_t kColumns = 64;

template <class T, class Op>
void reduce(const Axes& axes, const T* x, T* y, Team& team) noexcept {
  using S = typename Op::S;
  const int64_t terms = axes.reduced.total, total = axes.kept.total * std::max<int64_t>(1, terms);
  const auto store = [](S s, int64_t n) {
    const auto result = Op::give(s, n);
    if constexpr (kHalf<T> || std::is_floating_point_v<T>) return number_as<T>(static_cast<double>(result));
    else if constexpr (std::is_same_v<T, Bool>) return static_cast<Bool>(result != 0);
    else return static_cast<T>(result);
  };
  const int inner = axes.kept.count - 1;
  const int64_t x_step = inner < 0 ? 1 : axes.kept.loop[inner].step[0], y_step = inner < 0 ? 1 : axes.kept.loop[inner].step[1];
  const int64_t term_step = axes.reduced.count ? axes.reduced.loop[axes.reduced.count - 1].step[0] : 1;
  const bool columns = x_step == 1 && term_step != 1;
  in_pieces(team, axes.kept.total, columns ? kColumns : 1, total, [&](int64_t first, int64_t last) {
    walk(axes.kept, first, last, [&](const int64_t* at, int64_t n) {
      if (columns) {
        for (int64_t c = 0; c < n; c += kColumns) {
          const int64_t width = std::min(kColumns, n - c);
          S sums[kColumns];
          std::fill(sums, sums + width, Op::first());
          walk(axes.reduced, 0, terms, [&](const int64_t* from, int64_t count) {
            for (int64_t k = 0; k < count; ++k) {
              const T* row = x + at[0] + c + from[0] + k * term_step;
              for (int64_t j = 0; j < width; ++j) sums[j] = Op::take(sums[j], widened(row[j]));
            }
          });
          for (int64_t j = 0; j < width; ++j) y[at[1] + (c + j) * y_step] = store(sums[j], terms);
        }
        return;
      }
      for (int64_t i = 0; i < n; ++i) {
        S sum = Op::first();
        walk(axes.reduced, 0, terms, [&](const int64_t* from, int64_t count) {
          const T* run = x + at[0] + i * x_step + from[0];
          for (int64_t k = 0; k < count; ++k) sum = Op::take(sum, widened(run[k * term_step]));
        });
        y[at[1] + i * y_step] = store(sum, terms);
      }
    });
  });
}

// log sum e^x, which takes the largest element out first.
template <class T>
void log_sum_exp(const Axes& axes, const T* x, T* y, Team& team) noexcept {
  const int64_t terms = axes.reduced.total;
  const int inner = axes.kept.count - 1;
  const int64_t x_step = inner < 0 ? 1 : axes.kept.loop[inner].step[0], y_step = inner < 0 ? 1 : axes.kept.loop[inner].step[1];
  const int64_t term_step = axes.reduced.count ? axes.reduced.loop[axes.reduced.count - 1].step[0] : 1;
  in_pieces(team, axes.kept.total, 1, axes.kept.total * terms * 8, [&](int64_t first, int64_t last) {
    walk(axes.kept, first, last, [&](const int64_t* at, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        const T* from = x + at[0] + i * x_step;
        const auto each = [&](auto&& body) {
          walk(axes.reduced, 0, terms, [&](const int64_t* run, int64_t count) {
            for (int64_t k = 0; k < count; ++k) body(static_cast<double>(widened(from[run[0] + k * term_step])));
          });
        };
        double high = -HUGE_VAL, sum = 0;
        each([&](double v) { high = LargestOf<double>::take(high, v); });
        if (!std::isfinite(high)) high = 0;
        each([&](double v) { sum += std::exp(v - high); });
        y[at[1] + i * y_step] = number_as<T>(std::log(sum) + high);
      }
    });
  });
}

constexpr std::string_view kWords[] = {"sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"};

template <class T>
void reduce(std::string_view word, const Axes& axes, const T* x, T* y, Team& team) noexcept {
  using V = decltype(widened(T{}));
  if (word == "sum") return reduce<T, SumOf<V>>(axes, x, y, team);
  if (word == "mean") return reduce<T, MeanOf<V>>(axes, x, y, team);
  if (word == "max") return reduce<T, LargestOf<V>>(axes, x, y, team);
  if (word == "min") return reduce<T, SmallestOf<V>>(axes, x, y, team);
  if (word == "prod") return reduce<T, ProductOf<V>>(axes, x, y, team);
  if (word == "l1") return reduce<T, SizesOf<V>>(axes, x, y, team);
  if (word == "sum_square") return reduce<T, SquaresOf<V>>(axes, x, y, team);
  if constexpr (std::is_floating_point_v<V>) {
    if (word == "l2") return reduce<T, RootOf<V>>(axes, x, y, team);
    if (word == "log_sum") return reduce<T, LogOf<V>>(axes, x, y, team);
    if (word == "log_sum_exp") return log_sum_exp<T>(axes, x, y, team);
  }
}

std::vector<bool> reduced_axes(const Problem& p) {
  const auto rank = static_cast<int64_t>(p.in[0].shape.size());
  const auto axes = p.integers("axes");
  std::vector<bool> reduced(p.in[0].shape.size(), axes.empty());
  for (int64_t a : axes) reduced[static_cast<size_t>(a < 0 ? a + rank : a)] = true;
  return reduced;
}

class AxesKernel : public AnyKernel {
 public:
  AxesKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), dtype_(p.in[0].dtype), reduced_(reduced_axes(p)) {
    for (std::string_view word : kWords)
      if (word == p.word("op")) word_ = word;
    keeps_ = p.out[0].shape.size() == p.in[0].shape.size();
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    int64_t from[kMostRank], to[kMostRank], target[kMostRank];
    steps_of(x, from);
    steps_of(y, target);
    for (int i = 0, next = 0; i < x.rank; ++i) {
      to[i] = reduced_[static_cast<size_t>(i)] ? 0 : target[keeps_ ? i : next];
      if (!reduced_[static_cast<size_t>(i)]) ++next;
    }
    Axes axes;
    for (int i = 0; i < x.rank; ++i) {
      const int d = axis_in_memory(x.layout, i);
      if (reduced_[static_cast<size_t>(d)]) axes.reduced.add(x.size[d], {from[d]});
      else axes.kept.add(x.size[d], {from[d], to[d]});
    }
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      reduce(word_, axes, x.as<T>(), static_cast<T*>(c.out[0]), c.team);
    });
    return 0;
  }

 private:
  DType dtype_;
  std::vector<bool> reduced_;
  std::string_view word_;
  bool keeps_;
};

class AxesReduction : public AnyRoutine {
 public:
  explicit AxesReduction(Layout images) : AnyRoutine("reduce", "axes", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("it takes one value");
    if (auto verdict = basics(p); !verdict) return verdict;
    const auto word = p.word("op");
    const DType t = p.in[0].dtype;
    const bool floats = t == DType::f16 || t == DType::f32 || t == DType::f64, extreme = word == "max" || word == "min";
    if (std::find(std::begin(kWords), std::end(kWords), word) == std::end(kWords))
      return Verdict::no("no operation " + std::string(word));
    if (t == DType::bf16 || (t == DType::boolean && !extreme) ||
        (!floats && (word == "l2" || word == "log_sum" || word == "log_sum_exp")))
      return Verdict::no(std::string(word) + " not of " + pw::text(t));
    if (extreme || word == "sum" || word == "mean") {
      const Layout layout = layout_of(images_, p.in[0].shape.size());
      const auto reduced = reduced_axes(p);
      std::vector<int64_t> axes;
      for (size_t i = 0; i < reduced.size(); ++i)
        if (reduced[i]) axes.push_back(static_cast<int64_t>(i));
      // Other axes than those side by side are left to this routine in the order of rows, where all are accepted.
      if (group_of(layout, p.in[0].shape, axes).together) return not_f32(p);
    }
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<AxesKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<AxesReduction>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
