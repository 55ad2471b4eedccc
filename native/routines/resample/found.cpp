// resample in f32 where sizes or scales are there in the run alone: nearest, linear and cubic, without filters.
#include <cmath>

#include "routines/resample/taps.h"
#include "values/found.h"

namespace pw {
namespace {

enum class Mode { nearest, linear, cubic };

// One axis of a run.
struct Stretched {
  int64_t length = 1, out = 1, taps = 1;
  float scale = 1;
};

class FoundResampleKernel : public FoundKernel {
 public:
  FoundResampleKernel(const Problem& p, const Constants& constants)
      : FoundKernel(p, constants), by_size_(p.has(1)), sizes_(p, 1, "size"), axes_(p.integers("axes")),
        coordinates_(coordinates_of(p)), rounding_(rounding_of(p)), a_(p.number("cubic_a")),
        mode_(p.word("mode") == "nearest" ? Mode::nearest : p.word("mode") == "linear" ? Mode::linear : Mode::cubic) {
    if (axes_.empty())
      for (int64_t a = 0; a < rank_; ++a) axes_.push_back(a);
    for (int64_t& a : axes_) a += a < 0 ? rank_ : 0;
  }

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    Stretched axes[kMostRank];
    if (!stretched(c, axes)) return kMisfit;
    for (int i = 0; i < rank_; ++i) sizes[i] = axes[i].out;
    return 0;
  }

  // Stretches of a row: taps along it once, then the rows of the input that make it, one after another.
  void write(const Context& c, void* result, int64_t first, int64_t last) const noexcept override {
    Stretched axes[kMostRank];
    if (first >= last || !stretched(c, axes)) return;
    const Operand x = operands_.in(0, c);
    auto* y = static_cast<float*>(result);
    const auto* from = x.as<float>();
    int64_t steps[kMostRank];
    steps_of(x, steps);
    Taps4 around[kMostRank], along[kChunk];
    const Stretched& row = axes[rank_ - 1];
    for (int64_t i = first; i < last;) {
      const int64_t o = i % row.out, n = std::min({kChunk, row.out - o, last - i});
      int64_t rest = i / row.out, ways = 1;
      for (int d = rank_ - 2; d >= 0; --d) {
        around[d] = taps(axes[d], rest % axes[d].out);
        rest /= axes[d].out;
        ways *= axes[d].taps;
      }
      for (int64_t k = 0; k < n; ++k) along[k] = taps(row, o + k);
      std::fill(y + i, y + i + n, 0.0f);
      for (int64_t way = 0; way < ways; ++way) {
        int64_t at = 0, left = way;
        float weight = 1;
        for (int d = rank_ - 2; d >= 0; --d) {
          const int64_t tap = left % axes[d].taps;
          left /= axes[d].taps;
          at += around[d].index[tap] * steps[d];
          weight *= around[d].weight[tap];
        }
        for (int64_t k = 0; k < n; ++k) {
          float sum = 0;
          for (int64_t t = 0; t < row.taps; ++t) sum += along[k].weight[t] * from[at + along[k].index[t]];
          // An element as it is where nothing is mixed: what is not finite stays, too.
          y[i + k] = ways == 1 && row.taps == 1 ? from[at + along[k].index[0]] : y[i + k] + weight * sum;
        }
      }
      i += n;
    }
  }

 private:
  static constexpr int64_t kChunk = 64;
  struct Taps4 {
    int64_t index[4];
    float weight[4];
  };

  // Every axis; false where the numbers do not fit.
  bool stretched(const Context& c, Stretched* axes) const noexcept {
    const Operand x = operands_.in(0, c);
    const auto given = static_cast<int64_t>(axes_.size());
    const Operand scales = by_size_ ? Operand{} : operands_.in(2, c);
    if (x.rank != rank_ || (by_size_ ? sizes_.count(operands_, c) : scales.count()) != given) return false;
    for (int i = 0; i < rank_; ++i) axes[i] = {x.size[i], x.size[i], 1, 1};
    for (int64_t k = 0; k < given; ++k) {
      Stretched& axis = axes[axes_[static_cast<size_t>(k)]];
      if (by_size_) {
        axis.out = sizes_.at(operands_, c, k);
        if (axis.length > 0) axis.scale = static_cast<float>(axis.out) / static_cast<float>(axis.length);
      } else {
        axis.scale = scales.as<float>()[k];
        if (!(axis.scale > 0 && axis.scale < 1e9f)) return false;
        axis.out = static_cast<int64_t>(std::floor(static_cast<float>(axis.length) * axis.scale));
      }
      if (axis.out < 0 || axis.out > kMostSize || (axis.length == 0) != (axis.out == 0)) return false;
      if (axis.out != axis.length || axis.scale != 1) axis.taps = mode_ == Mode::nearest ? 1 : mode_ == Mode::linear ? 2 : 4;
    }
    return true;
  }

  Taps4 taps(const Stretched& axis, int64_t o) const noexcept {
    Taps4 t{{o}, {1}};
    if (axis.out == axis.length && axis.scale == 1) return t;
    const double at = place_of(coordinates_, o, axis.scale, axis.out, axis.length);
    if (mode_ == Mode::nearest) {
      t.index[0] = inside_of(rounded(rounding_, at), axis.length);
      return t;
    }
    const double below = std::floor(at);
    const int first = mode_ == Mode::linear ? 0 : -1;
    for (int64_t k = 0; k < axis.taps; ++k) {
      const double index = below + static_cast<double>(first + k);
      t.index[k] = inside_of(index, axis.length);
      t.weight[k] = static_cast<float>(mode_ == Mode::linear ? linear_weight(std::abs(index - at))
                                                             : cubic_weight(std::abs(index - at), a_));
    }
    return t;
  }

  bool by_size_;
  RunIntegers sizes_;
  std::vector<int64_t> axes_;
  Coordinates coordinates_;
  Rounding rounding_;
  double a_;
  Mode mode_;
};

class FoundResample : public AnyRoutine {
 public:
  FoundResample() : AnyRoutine("resample", "found") {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.has(1) == p.has(2) || p.has(3)) return Verdict::no("neither its sizes nor its scales are there in the run alone");
    if (p.in[0].dtype != DType::f32) return Verdict::no("it is not of f32");
    if (p.has(2) && p.in[2].dtype != DType::f32) return Verdict::no("its scales are not of f32");
    if (p.in[0].shape.empty()) return Verdict::no("it has no axes");
    if (p.word("coordinates") == "tf_crop_and_resize") return Verdict::no("it crops");
    if (p.word("policy") != "stretch") return Verdict::no("its policy is " + std::string(p.word("policy")));
    if (p.word("mode") != "nearest" && (p.integer("antialias") != 0 || p.integer("exclude_outside") != 0))
      return Verdict::no("it filters, or leaves out what lies outside");
    if (auto verdict = RunIntegers::accepts(p, 1); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<FoundResampleKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<FoundResample>(); }
}  // namespace PW_COLLECT

}  // namespace pw
