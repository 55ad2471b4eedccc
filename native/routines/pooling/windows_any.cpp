// Pools over windows of two and three axes, of every element type that their kinds take: maximum, mean and p-norm. Sums are
// added up in the element type, one tap after the other.
#include <cmath>

#include "products/matrix.h"
#include "routines/pooling/axis.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr int kAxes = 3;

enum class Fold { max, mean, norm };

// Attributes of a window; axes that the layer does not have come first, of length 1.
struct Windows {
  int64_t kernel[kAxes], stride[kAxes], pad[kAxes], pad_end[kAxes], dilation[kAxes];
  int axes;  // of the layer

  explicit Windows(const Problem& p) : axes(static_cast<int>(p.in[0].shape.size()) - 2) {
    const auto k = p.integers("kernel"), s = p.integers("stride"), q = p.integers("pad"), d = p.integers("dilation");
    for (int a = 0; a < kAxes; ++a) {
      const bool own = a >= kAxes - axes;
      const auto i = static_cast<size_t>(own ? a - (kAxes - axes) : 0), end = i + static_cast<size_t>(axes);
      kernel[a] = own ? k[i] : 1;
      stride[a] = own ? s[i] : 1;
      pad[a] = own ? q[i] : 0;
      pad_end[a] = own ? q[end] : 0;
      dilation[a] = own ? d[i] : 1;
    }
  }
  // The axes of one run.
  void at(const int64_t* in, const int64_t* out, WindowAxis* axis) const {
    for (int a = 0; a < kAxes; ++a) {
      const bool own = a >= kAxes - axes;
      const int i = 2 + a - (kAxes - axes);
      axis[a] = {own ? in[i] : 1, own ? out[i] : 1, kernel[a], stride[a], pad[a], pad_end[a], dilation[a]};
    }
  }
};

// Outputs [first, last) of an axis of which one tap lies inside of the image.
struct Reach {
  int64_t first, last, start;  // start: what output 0 sees, may lie outside
  Reach(const WindowAxis& axis, int64_t tap) : start(tap * axis.dilation - axis.pad) {
    first = start >= 0 ? 0 : (-start + axis.stride - 1) / axis.stride;
    last = axis.length <= start ? 0 : std::min(axis.out, (axis.length - 1 - start) / axis.stride + 1);
  }
};

template <class T>
struct Folds {
  Fold op;
  int64_t p;

  T neutral() const {
    if (op != Fold::max) return T{};
    if constexpr (kFloating<T>) return -std::numeric_limits<T>::infinity();
    else return std::numeric_limits<T>::min();
  }
  // n elements of x, `step` apart, into n elements of y.
  void add(T* y, const T* x, int64_t n, int64_t step) const {
    if (op == Fold::max) {
      if (step == 1) for (int64_t i = 0; i < n; ++i) y[i] = larger(y[i], x[i]);
      else for (int64_t i = 0; i < n; ++i) y[i] = larger(y[i], x[i * step]);
    } else if (op == Fold::mean) {
      if (step == 1) for (int64_t i = 0; i < n; ++i) y[i] += x[i];
      else for (int64_t i = 0; i < n; ++i) y[i] += x[i * step];
    } else if constexpr (kFloating<T>) {
      if (p == 1) for (int64_t i = 0; i < n; ++i) y[i] += std::abs(x[i * step]);
      else if (p == 2) for (int64_t i = 0; i < n; ++i) y[i] += x[i * step] * x[i * step];
      else for (int64_t i = 0; i < n; ++i) y[i] += std::pow(std::abs(x[i * step]), static_cast<T>(p));
    }
  }
  // The same of elements that have been added to others.
  void join(T* y, const T* x, int64_t n, int64_t step) const {
    if (op == Fold::max) for (int64_t i = 0; i < n; ++i) y[i] = larger(y[i], x[i * step]);
    else for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(y[i] + x[i * step]);
  }
  void root(T* y, int64_t n) const {
    if constexpr (kFloating<T>) {
      if (op != Fold::norm || p == 1) return;
      if (p == 2) for (int64_t i = 0; i < n; ++i) y[i] = std::sqrt(y[i]);
      else for (int64_t i = 0; i < n; ++i) y[i] = std::pow(y[i], T(1) / static_cast<T>(p));
    }
  }
  static T larger(T a, T b) { return b > a || b != b ? b : a; }
};

template <class T>
class WindowsKernel : public AnyKernel {
 public:
  WindowsKernel(const Problem& p, const Constants& constants, Layout images, Fold op)
      : AnyKernel(p, constants, images), windows_(p), folds_{op, op == Fold::norm ? p.integer("p") : 0},
        count_pad_(op == Fold::mean && p.integer("count_pad") != 0),
        last_(!facts(layout_of(images, p.in[0].shape.size())).row_major()) {
    if (!last_) areas_ = {round_up(p.in[0].shape.back() * static_cast<int64_t>(sizeof(T)), 64), p.threads};
  }
  size_t workspace_bytes() const override { return areas_.total(); }

  int run(const Context& c) noexcept override {
    WindowAxis axis[kAxes];
    windows_.at(c.in_sizes[0], c.out_sizes[0], axis);
    const int64_t channels = last_ ? c.in_sizes[0][1] : 1;
    const int64_t planes = c.in_sizes[0][0] * c.in_sizes[0][1] / std::max<int64_t>(1, channels);
    T* line = areas_.template own<T>(c.workspace, c.team);
    const int64_t rows = channels ? planes * axis[0].out * axis[1].out : 0, volume = axis[0].length * axis[1].length * axis[2].length;
    const auto* x = static_cast<const T*>(c.in[0]);
    auto* y = static_cast<T*>(c.out[0]);
    const int64_t work = rows * axis[2].out * channels * std::max<int64_t>(1, axis[0].kernel * axis[1].kernel * axis[2].kernel / 4);
    in_pieces(c.team, rows, 1, work, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t oy = r % axis[1].out, rest = r / axis[1].out, oz = rest % axis[0].out, plane = rest / axis[0].out;
        T* to = y + r * axis[2].out * channels;
        row(axis, x + plane * volume * channels, oz, oy, channels, to, line);
        if (folds_.op == Fold::mean) mean(axis, oz, oy, channels, to);
        folds_.root(to, axis[2].out * channels);
      }
    });
    return 0;
  }

 private:
  // One row of outputs. `folded`: in planes, the lines of the image that it sees, made one before the taps along it are taken.
  void row(const WindowAxis* axis, const T* x, int64_t oz, int64_t oy, int64_t channels, T* y, T* folded) const {
    const auto &[d, h, w] = *reinterpret_cast<const WindowAxis(*)[kAxes]>(axis);
    std::fill(y, y + w.out * channels, folds_.neutral());
    if (!last_) std::fill(folded, folded + w.length, folds_.neutral());
    for (int64_t i = d.first(oz); i < d.last(oz); ++i)
      for (int64_t j = h.first(oy); j < h.last(oy); ++j) {
        const T* line = x + ((d.start(oz) + i * d.dilation) * h.length + h.start(oy) + j * h.dilation) * w.length * channels;
        if (!last_) {
          folds_.add(folded, line, w.length, 1);
          continue;
        }
        for (int64_t o = 0; o < w.out; ++o)
          for (int64_t k = w.first(o); k < w.last(o); ++k)
            folds_.add(y + o * channels, line + (w.start(o) + k * w.dilation) * channels, channels, 1);
      }
    for (int64_t k = 0; !last_ && k < w.kernel; ++k) {
      const Reach reach(w, k);
      if (reach.first < reach.last)
        folds_.join(y + reach.first, folded + reach.start + reach.first * w.stride, reach.last - reach.first, w.stride);
    }
  }
  void mean(const WindowAxis* axis, int64_t oz, int64_t oy, int64_t channels, T* y) const {
    if constexpr (kFloating<T>) {
      const auto count = [&](const WindowAxis& a, int64_t o) {
        return std::max<int64_t>(1, count_pad_ ? a.padded_count(o) : a.last(o) - a.first(o));
      };
      const int64_t plane = count(axis[0], oz) * count(axis[1], oy);
      for (int64_t o = 0; o < axis[2].out; ++o) {
        const T scale = T(1) / static_cast<T>(plane * count(axis[2], o));
        for (int64_t c = 0; c < channels; ++c) y[o * channels + c] *= scale;
      }
    }
  }

  Windows windows_;
  Folds<T> folds_;
  bool count_pad_, last_;
  ThreadAreas areas_;  // a line of the image each
};

Verdict accepts_windows(const Problem& p) {
  if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value");
  const size_t rank = p.in[0].shape.size();
  if (rank < 3 || rank > 5) return Verdict::no("it has no axis of space, or more than three");
  if (p.in[0].dtype == DType::f16 || p.in[0].dtype == DType::bf16) return Verdict::no("the element type is a half");
  return Verdict::ok();
}

class PoolAny : public AnyRoutine {
 public:
  PoolAny(const std::string& layer, Fold op, bool f32, Layout images) : AnyRoutine(layer, "windows", images), op_(op), f32_(f32) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_windows(p); !verdict) return verdict;
    if (auto verdict = basics(p); !verdict) return verdict;
    return f32_ ? Verdict::ok() : not_f32(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (images_ == Layout::ndhwc) ports.order = 0;  // vectors of channels
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return with_type(p.in[0].dtype, [&](auto tag) -> std::unique_ptr<Kernel> {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_arithmetic_v<T>) return std::make_unique<WindowsKernel<T>>(p, constants, images_, op_);
      else return nullptr;
    });
  }

 private:
  Fold op_;
  bool f32_;
};

// The largest element of every window, and where it lies.
template <class T>
class IndicesKernel : public AnyKernel {
 public:
  IndicesKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), windows_(p), columns_(p.integer("column_major") != 0) {}

  int run(const Context& c) noexcept override {
    WindowAxis axis[kAxes];
    windows_.at(c.in_sizes[0], c.out_sizes[0], axis);
    const int64_t volume = axis[0].length * axis[1].length * axis[2].length;
    const int64_t rows = c.in_sizes[0][0] * c.in_sizes[0][1] * axis[0].out * axis[1].out;
    const auto* x = static_cast<const T*>(c.in[0]);
    auto* y = static_cast<T*>(c.out[0]);
    auto* indices = static_cast<int64_t*>(c.out[1]);
    in_pieces(c.team, rows, 1, 2 * rows * axis[2].out * axis[0].kernel * axis[1].kernel * axis[2].kernel, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t oy = r % axis[1].out, rest = r / axis[1].out, oz = rest % axis[0].out, plane = rest / axis[0].out;
        row(axis, x + plane * volume, plane * volume, oz, oy, y + r * axis[2].out, indices + r * axis[2].out);
      }
    });
    return 0;
  }

 private:
  void row(const WindowAxis* axis, const T* x, int64_t base, int64_t oz, int64_t oy, T* y, int64_t* indices) const {
    const WindowAxis &d = axis[0], &h = axis[1], &w = axis[2];
    std::fill(y, y + w.out, Folds<T>{Fold::max, 0}.neutral());
    std::fill(indices, indices + w.out, int64_t{-1});
    for (int64_t i = d.first(oz); i < d.last(oz); ++i)
      for (int64_t j = h.first(oy); j < h.last(oy); ++j) {
        const int64_t z = d.start(oz) + i * d.dilation, line = h.start(oy) + j * h.dilation;
        const T* from = x + (z * h.length + line) * w.length;
        const int64_t start = base + (columns_ ? z + d.length * line : (z * h.length + line) * w.length);
        const int64_t step = columns_ ? d.length * h.length : 1;
        for (int64_t k = 0; k < w.kernel; ++k) {
          const Reach reach(w, k);
          for (int64_t o = reach.first; o < reach.last; ++o) {
            const int64_t at = reach.start + o * w.stride;
            const T v = from[at];
            if (indices[o] < 0 || v > y[o] || (v != v && y[o] == y[o])) y[o] = v, indices[o] = start + at * step;
          }
        }
      }
  }

  Windows windows_;
  bool columns_;
};

class Indices : public AnyRoutine {
 public:
  Indices() : AnyRoutine("max_pool_indices", "windows") {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_windows(p); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return with_type(p.in[0].dtype, [&](auto tag) -> std::unique_ptr<Kernel> {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_arithmetic_v<T>) return std::make_unique<IndicesKernel<T>>(p, constants);
      else return nullptr;
    });
  }
};

// Elements put where indices say: zeros first, then one after the other, so that of equal indices the last one counts.
class UnpoolKernel : public AnyKernel {
 public:
  UnpoolKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), bytes_(size_of(p.in[0].dtype)) {}
  int64_t phases() const override { return 2; }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), indices = operands_.in(1, c), y = operands_.out(0, c);
    const int64_t size = y.count(), count = x.count();
    const auto* at = indices.as<int64_t>();
    if (c.team.phase == 0) {
      in_pieces(c.team, size, 4096, size, [&](int64_t first, int64_t last) {
        std::memset(static_cast<char*>(c.out[0]) + static_cast<size_t>(first) * bytes_, 0, static_cast<size_t>(last - first) * bytes_);
      });
      return 0;
    }
    bool outside = false;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      with_bytes(bytes_, [&](auto unit) {
        using T = decltype(unit);
        for (int64_t i = 0; i < count; ++i) {
          if (at[i] < 0 || at[i] >= size) outside = true;
          else static_cast<T*>(c.out[0])[at[i]] = x.as<T>()[i];
        }
      });
    });
    return outside ? kOutside : 0;
  }

 private:
  size_t bytes_;
};

class Unpool : public AnyRoutine {
 public:
  Unpool() : AnyRoutine("max_unpool", "scatter") {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2 || p.in[1].dtype != DType::i64) return Verdict::no("it takes a value and indices of i64");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<UnpoolKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  // Maximum and mean of f32 have routines of their own (window.cpp), over three axes with the channels last.
  for (Layout images : {Layout::nchw, Layout::nhwc}) {
    c.add<PoolAny>("max_pool2", Fold::max, false, images);
    c.add<PoolAny>("average_pool2", Fold::mean, false, images);
    c.add<PoolAny>("lp_pool2", Fold::norm, true, images);
  }
  for (Layout images : {Layout::nchw, Layout::ndhwc}) {
    c.add<PoolAny>("max_pool3", Fold::max, images == Layout::nchw, images);
    c.add<PoolAny>("average_pool3", Fold::mean, images == Layout::nchw, images);
    c.add<PoolAny>("lp_pool3", Fold::norm, true, images);
  }
  c.add<Indices>();
  c.add<Unpool>();
}
}  // namespace PW_COLLECT

}  // namespace pw
