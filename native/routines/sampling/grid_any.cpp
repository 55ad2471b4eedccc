// grid_sample: where each output looks is found in double; elements are weighted in their own type.
#include <cmath>

#include "spi/estimate.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr int kAxes = 3, kMostTaps = 64;
constexpr double kFar = 1099511627776.0;  // 2^40

enum class Mode { nearest, linear, cubic };
enum class Padding { zeros, border, reflection };

struct AxisTaps {
  int count = 0;
  int64_t index[4];  // -1: outside, of zeros
  double weight[4];
};

double reflected(double at, double low, double high) {
  const double span = high - low;
  if (span <= 0) return low;
  const double away = std::fabs(at - low), turns = std::floor(away / span), rest = away - turns * span;
  return std::fmod(turns, 2) == 0 ? low + rest : high - rest;
}

// std::floor of what fits an int64: without a call where the baseline has no instruction for it.
double floor_of(double at) {
  const auto whole = static_cast<double>(static_cast<int64_t>(at));
  return whole - static_cast<double>(whole > at);
}

// Which elements of an axis, and how much of each.
struct Rule {
  Mode mode;
  Padding padding;
  bool align;

  // Linear, and zero outside or the border: the two elements, and whether each is one of the axis.
  struct Pair {
    int64_t index[2];
    double weight[2];
    bool inside[2];
  };
  bool is_pair() const { return mode == Mode::linear && padding != Padding::reflection; }
  Pair pair(double at, int64_t length) const {
    at = place(at, static_cast<double>(length));
    const double most = static_cast<double>(length - 1), margin = align ? 0 : 0.5;
    if (padding == Padding::border && (at < -margin || at > most + margin)) at = std::clamp(at, 0.0, most);
    const double below = floor_of(at), d = at - below;
    const auto i = static_cast<int64_t>(below);
    const bool first = i >= 0 && i < length, second = i >= -1 && i + 1 < length, border = padding == Padding::border;
    return {{first ? i : i < 0 ? 0 : length - 1, second ? i + 1 : i < 0 ? 0 : length - 1}, {1 - d, d},
            {border || first, border || second}};
  }

  AxisTaps taps(double at, int64_t length) const {
    const auto size = static_cast<double>(length);
    at = place(at, size);
    const double low = align ? 0 : -0.5, high = align ? size - 1 : size - 0.5;
    if (mode == Mode::nearest) at = std::nearbyint(at);
    if (at < low || at > high) {
      if (padding == Padding::border && mode != Mode::cubic) at = std::clamp(at, 0.0, size - 1);
      if (padding == Padding::reflection) at = reflected(at, low, high);
    }
    const double below = mode == Mode::nearest ? std::nearbyint(at) : floor_of(at), d = at - below;
    AxisTaps t;
    if (mode == Mode::nearest) {
      set(t, below, 1, length, low, high);
    } else if (mode == Mode::linear) {
      set(t, below, 1 - d, length, low, high);
      set(t, below + 1, d, length, low, high);
    } else {
      set(t, below - 1, far(d + 1), length, low, high);
      set(t, below, near(d), length, low, high);
      set(t, below + 1, near(1 - d), length, low, high);
      set(t, below + 2, far(2 - d), length, low, high);
    }
    return t;
  }

 private:
  double place(double at, double size) const {
    at = at != at ? -1 : std::clamp(at, -kFar, kFar);
    return align ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
  }
  static constexpr double kA = -0.75;
  static double near(double d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; }
  static double far(double d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; }
  void set(AxisTaps& t, double at, double weight, int64_t length, double low, double high) const {
    const double most = static_cast<double>(length - 1);
    if (at < 0 || at > most) {
      if (padding == Padding::reflection) at = std::trunc(reflected(at, low, high));
      if (padding == Padding::zeros) at = -1;
      else at = std::clamp(at, 0.0, most);
    }
    t.index[t.count] = static_cast<int64_t>(at);
    t.weight[t.count++] = weight;
  }
};

// What one output is made of.
template <class T>
struct Taps {
  int count;
  int64_t at[kMostTaps];  // elements of a plane
  T weight[kMostTaps];
};

template <class T, class G>
class GridKernel : public AnyKernel {
 public:
  GridKernel(const Problem& p, const Constants& constants, Layout images, const Rule& rule)
      : AnyKernel(p, constants, images), rule_(rule), axes_(static_cast<int>(p.in[0].shape.size()) - 2),
        last_(!facts(layout_of(images, p.in[0].shape.size())).row_major()) {}

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), grid = operands_.in(1, c), y = operands_.out(0, c);
    const int64_t channels = x.size[1];
    int64_t points = 1, plane = 1;
    for (int a = 0; a < axes_; ++a) points *= y.size[2 + a], plane *= x.size[2 + a];
    const int64_t all = x.size[0] * points, grain = 16;
    if constexpr (std::is_floating_point_v<T>) {
      if (axes_ == 2 && !last_ && rule_.is_pair()) {
        in_pieces(c.team, all, grain, all * (4 * channels + kFinding), [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last;) {
            const int64_t image = i / points, at = i % points, n = std::min({kBlock, last - i, points - at});
            squares(grid.as<G>() + i * 2, n, x.as<T>() + image * channels * plane, x.size[2], x.size[3], channels,
                    static_cast<T*>(c.out[0]) + image * channels * points + at, points);
            i += n;
          }
        });
        return 0;
      }
    }
    in_pieces(c.team, all, grain, all * (4 * channels + kFinding), [&](int64_t first, int64_t last) {
      Taps<T> taps[kBlock];
      for (int64_t i = first; i < last;) {
        const int64_t image = i / points, at = i % points, n = std::min({kBlock, last - i, points - at});
        for (int64_t k = 0; k < n; ++k) find(grid.as<G>() + (i + k) * axes_, x.size + 2, taps[k]);
        const T* from = x.as<T>() + image * channels * plane;
        T* to = static_cast<T*>(c.out[0]) + image * channels * points;
        if (last_) channels_last(from, taps, n, channels, to + at * channels);
        else for (int64_t ch = 0; ch < channels; ++ch) one_channel(from + ch * plane, taps, n, to + ch * points + at);
        i += n;
      }
    });
    return 0;
  }

 private:
  static constexpr int64_t kBlock = 16;
  static constexpr int64_t kFinding = 32;  // floats moved in the time in which a place is found

  // n points between four elements each, of channels that are planes. The order of the sums is that of `one_channel`.
  void squares(const G* grid, int64_t n, const T* x, int64_t height, int64_t width, int64_t channels, T* y,
               int64_t points) const {
    int64_t at[kBlock][4];
    T weight[kBlock][4];
    bool inside[kBlock], whole = true;
    for (int64_t k = 0; k < n; ++k) {
      const auto column = rule_.pair(static_cast<double>(grid[2 * k]), width);
      const auto row = rule_.pair(static_cast<double>(grid[2 * k + 1]), height);
      inside[k] = row.inside[0] && row.inside[1] && column.inside[0] && column.inside[1];
      whole = whole && inside[k];
      for (int i = 0; i < 4; ++i) {
        const bool counts = row.inside[i / 2] && column.inside[i % 2];
        at[k][i] = counts ? row.index[i / 2] * width + column.index[i % 2] : -1;
        weight[k][i] = static_cast<T>(row.weight[i / 2] * column.weight[i % 2]);
      }
    }
    for (int64_t c = 0; c < channels; ++c, x += height * width, y += points) {
      for (int64_t k = 0; k < n; ++k) {
        T sum{};
        if (whole || inside[k]) {
          for (int i = 0; i < 4; ++i) sum += weight[k][i] * x[at[k][i]];
        } else {
          for (int i = 0; i < 4; ++i) if (at[k][i] >= 0) sum += weight[k][i] * x[at[k][i]];
        }
        y[k] = sum;
      }
    }
  }

  void find(const G* grid, const int64_t* size, Taps<T>& taps) const {
    AxisTaps axis[kAxes];
    for (int a = 0; a < axes_; ++a) axis[a] = rule_.taps(static_cast<double>(grid[axes_ - 1 - a]), size[a]);
    taps.count = 0;
    walk(axis, size, 0, 0, 1, taps);
  }
  void walk(const AxisTaps* axis, const int64_t* size, int a, int64_t at, double weight, Taps<T>& taps) const {
    if (a == axes_) {
      taps.at[taps.count] = at;
      taps.weight[taps.count++] = number_as<T>(weight);
      return;
    }
    for (int k = 0; k < axis[a].count; ++k)
      if (axis[a].index[k] >= 0) walk(axis, size, a + 1, at * size[a] + axis[a].index[k], weight * axis[a].weight[k], taps);
  }
  void one_channel(const T* x, const Taps<T>* taps, int64_t n, T* y) const {
    for (int64_t k = 0; k < n; ++k) {
      const Taps<T>& t = taps[k];
      if (rule_.mode == Mode::nearest) {
        y[k] = t.count ? x[t.at[0]] : T{};
      } else {
        T sum{};
        for (int i = 0; i < t.count; ++i) sum += t.weight[i] * x[t.at[i]];
        y[k] = sum;
      }
    }
  }
  void channels_last(const T* x, const Taps<T>* taps, int64_t n, int64_t channels, T* y) const {
    for (int64_t k = 0; k < n; ++k, y += channels) {
      const Taps<T>& t = taps[k];
      if (rule_.mode == Mode::nearest && t.count) {
        std::copy_n(x + t.at[0] * channels, channels, y);
        continue;
      }
      std::fill(y, y + channels, T{});
      for (int i = 0; i < t.count; ++i) {
        const T* from = x + t.at[i] * channels;
        const T weight = t.weight[i];
        for (int64_t c = 0; c < channels; ++c) y[c] += weight * from[c];
      }
    }
  }

  Rule rule_;
  int axes_;
  bool last_;
};

class Grid : public AnyRoutine, public Estimating {
 public:
  explicit Grid(Layout images) : AnyRoutine("grid_sample", "points", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2) return Verdict::no("it takes a value and a grid");
    const size_t rank = p.in[0].shape.size();
    if (rank < 3 || rank > 5) return Verdict::no("it has no axis of space, or more than three");
    if (p.in[1].dtype != DType::f32 && p.in[1].dtype != DType::f64) return Verdict::no("the grid is neither f32 nor f64");
    const DType x = p.in[0].dtype;
    if (x == DType::f16 || x == DType::bf16 || x == DType::boolean) return Verdict::no("the element type is a half or bool");
    if (x != DType::f32 && x != DType::f64 && rule(p).mode != Mode::nearest) return Verdict::no("the element type is no float");
    if (!facts(images_).row_major() && (p.in[0].constant || !of_rank(images_, rank))) return Verdict::no("the layout is for other ranks");
    return basics(p);
  }
  // The grid lies in the order of rows in any case.
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    size_t port = 0;
    for (int i : p.dynamic()) {
      if (i == 1) ports.in[port].layout = plain_layout(p.in[1].shape.size());
      ++port;
    }
    return ports;
  }
  // Of an output: finding its place, and the taps of each channel, one by one in planes.
  Estimate estimate(const Problem& p, const std::string&) const override {
    const auto axes = static_cast<double>(p.in[0].shape.size() - 2), channels = static_cast<double>(p.in[0].shape[1]);
    const double points = static_cast<double>(p.out[0].count()) / channels;
    const Rule r = rule(p);
    const double taps = std::pow(r.mode == Mode::nearest ? 1 : r.mode == Mode::linear ? 2 : 4, axes);
    const bool planes = facts(layout_of(images_, p.in[0].shape.size())).row_major();
    Estimate e;
    e.add(points * (planes && axes == 2 && r.is_pair() ? 1000 : 1500 * axes + 300 * taps), 1);
    e.add(points * taps * channels * 2, planes ? 0.03 : 0.1);
    e.pieces = std::max(1.0, points * (4 * channels + 32) / 8192);
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return with_type(p.in[0].dtype, [&](auto tag) -> std::unique_ptr<Kernel> {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_arithmetic_v<T>) {
        if (p.in[1].dtype == DType::f64) return std::make_unique<GridKernel<T, double>>(p, constants, images_, rule(p));
        return std::make_unique<GridKernel<T, float>>(p, constants, images_, rule(p));
      } else {
        return nullptr;
      }
    });
  }

 private:
  static Rule rule(const Problem& p) {
    const auto mode = p.word("mode"), padding = p.word("padding");
    return {mode == "nearest" ? Mode::nearest : mode == "linear" ? Mode::linear : Mode::cubic,
            padding == "zeros" ? Padding::zeros : padding == "border" ? Padding::border : Padding::reflection,
            p.integer("align_corners") != 0};
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc, Layout::ndhwc}) c.add<Grid>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
