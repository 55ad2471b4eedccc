// resample one axis after another: linear, cubic and filtered in f32, nearest in any element type.
#include <cstring>

#include "routines/resample/taps.h"
#include "spi/estimate.h"
#include "ukernels/kinds/resize_f32.h"

namespace pw {
namespace {

// A value as outer x length x inner around one axis, by the sizes of a run.
struct Around {
  int64_t outer = 1, inner = 1;
};

// One pass per axis that changes, from the outermost in memory to the innermost, through scratch memory between them; one for
// the last two where both are linear and lie side by side.
class AxesKernel : public Kernel {
 public:
  // `bilinear`: nullptr, or what makes a row of two axes at once.
  AxesKernel(const Problem& p, Layout layout, const ResizeF32* bilinear)
      : layout_(layout), bytes_(size_of(p.in[0].dtype)), rank_(p.in[0].shape.size()),
        fill_(static_cast<float>(p.number("extrapolation"))) {
    const Resampling resampling(p);
    const auto axes = resampling.axes();
    for (const MemoryDim& d : memory_dims(layout, p.in[0].shape))
      if (std::find(axes.begin(), axes.end(), d.logical) != axes.end()) passes_.push_back(resampling.taps(d.logical));
    Dims shape = p.in[0].shape;
    for (size_t i = 0; i + 1 < passes_.size(); ++i) {
      shape[static_cast<size_t>(passes_[i].axis)] = passes_[i].out;
      between_ = std::max(between_, count(shape));
    }
    if (bilinear && passes_.size() >= 2 && two_linear()) take_together(*bilinear, p.in[0].shape);
    const bool fills = std::any_of(passes_.begin(), passes_.end(), [](const Taps& t) { return !t.outside.empty(); });
    stages_ = std::max<int64_t>(1, static_cast<int64_t>(passes_.size()) - (bilinear_ ? 1 : 0));
    phases_ = stages_ + (fills ? 1 : 0);
  }

  int64_t phases() const override { return phases_; }
  size_t workspace_bytes() const override {
    return stages_ < 2 ? 0 : 2 * (static_cast<size_t>(between_) * bytes_ + 64);
  }
  size_t packed_bytes() const override {
    size_t n = 0;
    for (const Taps& t : passes_) n += t.index.size() * 8 + t.weight.size() * 4;
    return n;
  }
  // The axes that stay as they are; those that change have tables, and so do the pixels of `bilinear`.
  bool open(size_t, size_t axis) const override {
    if (facts(layout_).block && axis == 1) return false;
    if (bilinear_ && std::find(behind_.begin(), behind_.end(), static_cast<int>(axis)) != behind_.end()) return false;
    return std::none_of(passes_.begin(), passes_.end(), [&](const Taps& t) { return t.axis == static_cast<int>(axis); });
  }

  int run(const Context& c) noexcept override {
    const int64_t phase = c.team.phase, last = stages_ - 1;
    if (passes_.empty()) {
      copy(c);
    } else if (phase <= last) {
      const Taps& t = passes_[static_cast<size_t>(phase)];
      const void* x = phase == 0 ? c.in[0] : scratch(c, phase - 1);
      void* y = phase == last ? c.out[0] : scratch(c, phase);
      if (bilinear_ && phase == last) rows(c, static_cast<const float*>(x));
      else if (t.count == 1) nearest(c, t, x, y);
      else filtered(c, t, static_cast<const float*>(x), static_cast<float*>(y));
    } else {
      fill_outside(c);
    }
    return 0;
  }

 private:
  void* scratch(const Context& c, int64_t i) const {
    const size_t room = (static_cast<size_t>(between_) * bytes_ + 63) / 64 * 64;
    return static_cast<char*>(c.workspace) + static_cast<size_t>(i % 2) * room;
  }

  // Sizes in memory around an axis: of passes that are done the outputs, of the others the inputs.
  Around around(const Context& c, const Taps& t) const {
    Around a;
    bool before = true, done = true;
    each_dim(c, [&](int logical, int64_t in, int64_t out) {
      if (logical == t.axis) {
        before = done = false;
        return;
      }
      (before ? a.outer : a.inner) *= done ? out : in;
    });
    return a;
  }
  // Calls body(logical axis, input size, output size) for every dimension in memory, outermost first.
  template <class Body>
  void each_dim(const Context& c, Body&& body) const {
    const LayoutFacts& known = facts(layout_);
    const int rank = static_cast<int>(rank_);
    for (int i = 0; i < rank; ++i) {
      const int axis = i < known.rank ? known.order[static_cast<size_t>(i)] : i;
      const int64_t divide = known.block && axis == 1 ? known.block : 1;
      body(axis, c.in_sizes[0][axis] / divide, c.out_sizes[0][axis] / divide);
    }
    if (known.block) body(1, known.block, known.block);
  }

  const Taps& down() const { return passes_[passes_.size() - 2]; }
  const Taps& across() const { return passes_.back(); }
  // The last two passes mix two elements, and nothing lies between their axes in memory.
  bool two_linear() const {
    const auto order = memory_order_of_all();
    const auto at = std::find(order.begin(), order.end(), down().axis);
    return down().count == 2 && across().count == 2 && at + 1 != order.end() && at[1] == across().axis;
  }
  std::vector<int> memory_order_of_all() const {
    std::vector<int> order;
    const LayoutFacts& known = facts(layout_);
    for (int i = 0; i < static_cast<int>(rank_); ++i) order.push_back(i < known.rank ? known.order[static_cast<size_t>(i)] : i);
    return order;
  }
  void take_together(const ResizeF32& kernel, const Dims& shape) {
    bilinear_ = &kernel;
    const Taps& t = across();
    int64_t inner = 1;
    bool behind = false;
    for (const MemoryDim& d : memory_dims(layout_, shape)) {
      if (behind) {
        inner *= d.size;
        behind_.push_back(d.logical);
      }
      behind = behind || d.logical == t.axis;
    }
    for (size_t o = 0; o < static_cast<size_t>(t.out); ++o) {
      left_.push_back(t.index[2 * o] * inner);
      right_.push_back(t.index[2 * o + 1] * inner);
      right_weight_.push_back(t.weight[2 * o + 1]);
    }
  }
  void rows(const Context& c, const float* x) const noexcept {
    const Taps& t = down();
    const Around a = around(c, across());
    const int64_t planes = around(c, t).outer, length = across().out * a.inner, from = across().length * a.inner;
    in_pieces(c.team, planes * t.out, 1, planes * t.out * length, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto o = static_cast<size_t>(i % t.out);
        const float* plane = x + i / t.out * t.length * from;
        const ResizeF32Args args{plane + t.index[2 * o] * from, plane + t.index[2 * o + 1] * from,
                                 static_cast<float*>(c.out[0]) + i * length, across().out, a.inner, left_.data(),
                                 right_.data(), right_weight_.data(), t.weight[2 * o + 1]};
        bilinear_->bilinear(&args);
      }
    });
  }

  void copy(const Context& c) const noexcept {
    int64_t n = 1;
    for (size_t i = 0; i < rank_; ++i) n *= c.in_sizes[0][i];
    in_pieces(c.team, n, 4096, n, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(c.out[0]) + static_cast<size_t>(first) * bytes_,
                  static_cast<const char*>(c.in[0]) + static_cast<size_t>(first) * bytes_,
                  static_cast<size_t>(last - first) * bytes_);
    });
  }

  void nearest(const Context& c, const Taps& t, const void* x, void* y) const noexcept {
    const Around a = around(c, t);
    with_bytes(bytes_, [&](auto unit) {
      using T = decltype(unit);
      const auto* from = static_cast<const T*>(x);
      auto* to = static_cast<T*>(y);
      in_pieces(c.team, a.outer * t.out, 1, a.outer * t.out * a.inner, [&](int64_t first, int64_t last) {
        int64_t o = first / t.out, at = first % t.out;
        for (int64_t i = first; i < last; ++i) {
          const T* row = from + (o * t.length + t.index[static_cast<size_t>(at)]) * a.inner;
          if (a.inner == 1) to[i] = *row;
          else std::memcpy(to + i * a.inner, row, static_cast<size_t>(a.inner) * sizeof(T));
          if (++at == t.out) {
            at = 0;
            ++o;
          }
        }
      });
    });
  }

  void filtered(const Context& c, const Taps& t, const float* x, float* y) const noexcept {
    const Around a = around(c, t);
    const int64_t cost = a.outer * t.out * a.inner * t.count;
    in_pieces(c.team, a.outer * t.out, 1, cost, [&](int64_t first, int64_t last) {
      int64_t o = first / t.out, at = first % t.out;
      for (int64_t i = first; i < last; ++i) {
        one(t, at, x + o * t.length * a.inner, y + i * a.inner, a.inner);
        if (++at == t.out) {
          at = 0;
          ++o;
        }
      }
    });
  }

  // y[0 .. inner) of one output along the axis; sums in the order of the taps.
  static void one(const Taps& t, int64_t at, const float* x, float* y, int64_t inner) noexcept {
    const int64_t* index = t.index.data() + at * t.count;
    const float* w = t.weight.data() + at * t.count;
    if (inner == 1) {
      float sum = w[0] * x[index[0]];
      for (int64_t k = 1; k < t.count; ++k) sum += w[k] * x[index[k]];
      *y = sum;
      return;
    }
    const float *a = x + index[0] * inner, *b = x + index[1] * inner;
    for (int64_t i = 0; i < inner; ++i) y[i] = w[0] * a[i] + w[1] * b[i];
    for (int64_t k = 2; k < t.count; ++k) {
      const float* row = x + index[k] * inner;
      for (int64_t i = 0; i < inner; ++i) y[i] += w[k] * row[i];
    }
  }

  // Elements that lie outside of the region on one axis or more.
  void fill_outside(const Context& c) const noexcept {
    for (const Taps& t : passes_) {
      Around a;
      bool before = true;
      each_dim(c, [&](int logical, int64_t, int64_t out) {
        if (logical == t.axis) before = false;
        else (before ? a.outer : a.inner) *= out;
      });
      const int64_t rows = static_cast<int64_t>(t.outside.size());
      if (rows == 0) continue;
      with_bytes(bytes_, [&](auto unit) {
        using T = decltype(unit);
        in_pieces(c.team, a.outer * rows, 1, a.outer * rows * a.inner, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            T* y = static_cast<T*>(c.out[0]) + (i / rows * t.out + t.outside[static_cast<size_t>(i % rows)]) * a.inner;
            for (int64_t k = 0; k < a.inner; ++k) std::memcpy(y + k, &fill_, sizeof(float));
          }
        });
      });
    }
  }

  Layout layout_;
  size_t bytes_, rank_;
  float fill_;
  std::vector<Taps> passes_;
  int64_t between_ = 0, stages_ = 1, phases_ = 1;
  const ResizeF32* bilinear_ = nullptr;
  std::vector<int64_t> left_, right_;
  std::vector<int> behind_;
  std::vector<float> right_weight_;
};

class Resample : public VectorRoutine, public Estimating {
 public:
  explicit Resample(Layout layout) : VectorRoutine("resample", "axes", layout, PW_KIND_RESIZE_F32) { card_.version = 2; }
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_resampling(p); !verdict) return verdict;
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    const auto axes = Resampling(p).axes();
    if (layout_ == Layout::nchw16c && std::find(axes.begin(), axes.end(), 1) != axes.end())
      return Verdict::no("the channels change, which lie in blocks");
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<AxesKernel>(p, layout_, &variant_ukernel<ResizeF32>(kind_, variant));
  }
  // Elements that lie by themselves in memory are taken one by one.
  Estimate estimate(const Problem& p, const std::string&) const override {
    const Resampling resampling(p);
    const auto axes = resampling.axes();
    Dims shape = p.in[0].shape;
    double inner = 1;
    Estimate e = Estimate().add(0, 1);
    for (const MemoryDim& d : memory_dims(layout_, shape)) {
      const bool changes = std::find(axes.begin(), axes.end(), d.logical) != axes.end();
      inner = changes ? 1 : inner * static_cast<double>(d.size);
    }
    e.phases = 0;
    for (const MemoryDim& d : memory_dims(layout_, p.in[0].shape)) {
      if (std::find(axes.begin(), axes.end(), d.logical) == axes.end()) continue;
      shape[static_cast<size_t>(d.logical)] = p.out[0].shape[static_cast<size_t>(d.logical)];
      const auto made = static_cast<double>(count(shape));
      const bool last = ++e.phases == static_cast<int64_t>(axes.size());
      e.add(made * 2 * static_cast<double>(resampling.terms(d.logical)), !last || inner >= 8 ? 0.15 : 0.015);
      if (!last) e.move(2 * made * 4, made * 4);
    }
    e.phases = std::max<int64_t>(1, e.phases);
    return e;
  }
};

// Nearest neighbours of any element type.
class Nearest : public AnyRoutine {
 public:
  explicit Nearest(Layout images) : AnyRoutine("resample", "nearest", images) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_resampling(p); !verdict) return verdict;
    if (auto verdict = basics(p); !verdict) return verdict;
    if (p.word("mode") != "nearest") return Verdict::no("its mode is " + std::string(p.word("mode")));
    if (p.word("coordinates") == "tf_crop_and_resize") return Verdict::no("it crops, and fills with a number");
    return not_f32(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<AxesKernel>(p, layout_of(images_, p.in[0].shape.size()), nullptr);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Resample>(layout);
  c.add<Resample>(Layout::ndhwc);
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<Nearest>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
