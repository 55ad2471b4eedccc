// Maximum and mean over windows of planes, the axes one after the other: down the columns of a padded copy, then along its rows.
// Vectors lie along rows whatever the stride, so that padding and short rows cost no more than others.
#include <cstring>

#include "products/matrix.h"
#include "routines/pooling/axis.h"
#include "spi/estimate.h"
#include "ukernels/kinds/binary_f32.h"
#include "ukernels/kinds/pool_f32.h"
#include "ukernels/kinds/transpose_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

constexpr int64_t kVector = 16;  // columns are a multiple of the widest vector

// How many elements of an axis the windows reach over, padding included.
int64_t reached(const WindowAxis& a) { return (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1; }

class SeparableKernel : public PieceKernel {
 public:
  SeparableKernel(const PoolF32& kernel, Pool op, bool count_pad, const Problem& p)
      : kernel_(kernel), binary_(best_ukernel<BinaryF32>(PW_KIND_BINARY_F32)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), op_(op), count_pad_(count_pad),
        v_(window_axis(p, 0)), h_(window_axis(p, 1)), planes_(p.in[0].shape[0] * p.in[0].shape[1]) {
    columns_ = round_up(h_.out, kVector);
    // Column i of a phase is element i * stride + phase of a row.
    phase_ = round_up(columns_ + (h_.kernel - 1) * h_.dilation / h_.stride, kVector);
    width_ = phase_ * h_.stride;
    constexpr int64_t kFloats = 1 << 14;
    const int64_t above = (v_.kernel - 1) * v_.dilation + 1 - v_.stride;  // rows of a tile that it shares with the next one
    rows_ = std::clamp<int64_t>((kFloats - above * width_) / (width_ * (v_.stride + 2)), 1, v_.out);
    rows_ = std::min(rows_, std::max<int64_t>(1, divide_up(v_.out * planes_, 4 * p.threads)));
    tiles_ = divide_up(v_.out, rows_);
    rows_ = divide_up(v_.out, tiles_);
    for (int64_t k = 0; k < h_.kernel; ++k) {
      const int64_t at = k * h_.dilation, phase = at % h_.stride;
      auto found = std::find_if(phases_.begin(), phases_.end(), [&](const Taps& t) { return t.phase == phase; });
      if (found == phases_.end()) phases_.push_back({phase, at / h_.stride, 1, 0});
      else if (found->count++ == 1) found->step = at / h_.stride - found->first;
    }
    place(p.threads);
  }
  size_t workspace_bytes() const override { return areas_.total(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    char* own = areas_.own<char>(workspace, team);
    const int64_t cost = planes_ * (v_.out * width_ * v_.kernel + v_.out * columns_ * h_.kernel) / 8;
    in_pieces(team, planes_ * tiles_, 1, cost, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t plane = i / tiles_, top = i % tiles_ * rows_, rows = std::min(rows_, v_.out - top);
        tile(x + plane * v_.length * h_.length, y + (plane * v_.out + top) * h_.out, top, rows, own);
      }
    });
  }

 private:
  // Taps of a row that lie in one phase: `count` from `first` on, `step` columns apart.
  struct Taps {
    int64_t phase, first, count, step;
  };

  float nothing() const { return op_ == Pool::max ? -__builtin_inff() : 0.0f; }

  void place(int64_t threads) {
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
      const int64_t here = at;
      at += round_up(floats * 4, 64);
      return here;
    };
    copy_at_ = take(((rows_ - 1) * v_.stride + (v_.kernel - 1) * v_.dilation + 1) * width_);
    folded_at_ = take(rows_ * width_);
    phases_at_ = take(h_.stride > 1 ? rows_ * width_ : 0);
    result_at_ = take(rows_ * columns_);
    other_at_ = take(phases_.size() > 1 ? rows_ * columns_ : 0);
    scale_at_ = take(op_ == Pool::sum ? columns_ : 0);
    areas_ = {at, threads};
  }

  // Rows [top, top + rows) of a plane's outputs.
  void tile(const float* x, float* y, int64_t top, int64_t rows, char* own) const noexcept {
    auto* copy = reinterpret_cast<float*>(own + copy_at_);
    auto* folded = reinterpret_cast<float*>(own + folded_at_);
    auto* result = reinterpret_cast<float*>(own + result_at_);
    bring(x, v_.start(top), (rows - 1) * v_.stride + (v_.kernel - 1) * v_.dilation + 1, copy);
    PoolArgs<float> args{};
    args.op = op_;
    args.scale = 1.0f;
    args.pixels = rows;
    args.x = copy, args.x_pixel = v_.stride * width_;
    args.y = folded, args.y_pixel = width_;
    args.tap_rows = v_.kernel, args.x_tap_row = v_.dilation * width_;
    args.tap_columns = 1;
    args.channels = width_;
    kernel_.channels(&args);
    if (h_.stride > 1) {
      auto* phases = reinterpret_cast<float*>(own + phases_at_);
      transpose_.run(folded, h_.stride, phases, rows * phase_, rows * phase_, h_.stride);
      folded = phases;
    }
    args.x_pixel = phase_;
    args.y_pixel = columns_;
    args.tap_rows = 1, args.x_tap_row = 0;
    args.channels = columns_;
    for (size_t i = 0; i < phases_.size(); ++i) {
      const Taps& t = phases_[i];
      args.x = folded + t.phase * rows * phase_ + t.first;
      args.y = i == 0 ? result : reinterpret_cast<float*>(own + other_at_);
      args.tap_columns = t.count, args.x_tap_column = t.step;
      kernel_.channels(&args);
      if (i) combine(op_ == Pool::max ? Binary::maximum : Binary::add, result, args.y, 1, rows * columns_, 0);
    }
    if (op_ == Pool::sum) scale(top, rows, result, reinterpret_cast<float*>(own + scale_at_));
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(y + r * h_.out, result + r * columns_, static_cast<size_t>(h_.out) * 4);
  }

  // `count` rows of the image from `first` on, which may lie outside, with what stands for padding around them.
  void bring(const float* x, int64_t first, int64_t count, float* to) const noexcept {
    const int64_t left = std::min(h_.pad, width_), n = std::min(h_.length, width_ - left);
    for (int64_t r = first; r < first + count; ++r, to += width_) {
      const bool inside = r >= 0 && r < v_.length;
      std::fill(to, to + (inside ? left : width_), nothing());
      if (!inside) continue;
      std::memcpy(to + left, x + r * h_.length, static_cast<size_t>(n) * 4);
      std::fill(to + left + n, to + width_, nothing());
    }
  }

  // a = op(a, b) of rows; b_row is 0 where b is one row.
  void combine(Binary op, float* a, const float* b, int64_t rows, int64_t columns, int64_t b_row) const noexcept {
    const BinaryArgs<float> args{op, a, b, a, rows, columns, columns, b_row, false, false, -__builtin_inff(), __builtin_inff()};
    binary_.run(&args);
  }

  // Sums to means: rows that count alike together.
  void scale(int64_t top, int64_t rows, float* sums, float* factors) const noexcept {
    const auto tall = [&](int64_t oy) { return count_pad_ ? v_.padded_count(oy) : v_.last(oy) - v_.first(oy); };
    for (int64_t r = 0, next; r < rows; r = next) {
      const int64_t height = tall(top + r);
      for (next = r + 1; next < rows && tall(top + next) == height;) ++next;
      for (int64_t ox = 0; ox < h_.out; ++ox) {
        const int64_t wide = count_pad_ ? h_.padded_count(ox) : h_.last(ox) - h_.first(ox);
        factors[ox] = 1.0f / static_cast<float>(std::max<int64_t>(1, height) * std::max<int64_t>(1, wide));
      }
      std::fill(factors + h_.out, factors + columns_, 0.0f);
      combine(Binary::mul, sums + r * columns_, factors, next - r, columns_, 0);
    }
  }

  const PoolF32& kernel_;
  const BinaryF32& binary_;
  const TransposeF32& transpose_;
  Pool op_;
  bool count_pad_;
  WindowAxis v_, h_;
  int64_t planes_, columns_, phase_, width_, rows_, tiles_;
  std::vector<Taps> phases_;
  int64_t copy_at_ = 0, folded_at_ = 0, phases_at_ = 0, result_at_ = 0, other_at_ = 0, scale_at_ = 0;
  ThreadAreas areas_;
};

class Separable : public VectorRoutine, public Estimating {
 public:
  Separable(const std::string& layer, Pool op)
      : VectorRoutine(layer, "separable", Layout::nchw, PW_KIND_POOL_F32), op_(op) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (p.in[0].shape.size() != 4) return Verdict::no("the rank is another one");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    const WindowAxis v = window_axis(p, 0), h = window_axis(p, 1);
    // Padding is computed like the image.
    const auto area = [](int64_t height, int64_t width) { return static_cast<double>(height) * static_cast<double>(width); };
    if (h.stride > kWidest || area(reached(v), reached(h)) > 4 * area(v.length, h.length) + (1 << 16))
      return Verdict::no("there is more padding than image, or the stride is large");
    return Verdict::ok();
  }
  // Before pool2/direct where that computes many outputs one by one, or taps more often than needed.
  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    const WindowAxis v = window_axis(p, 0), h = window_axis(p, 1);
    const int64_t alone = h.out - (h.inner_last() - h.inner_first()) / kVector * kVector;
    ports.order = 4 * alone > h.out || v.kernel * h.kernel > 16 ? -1 : 1;
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.02);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    const bool count_pad = op_ == Pool::sum && p.integer("count_pad") != 0;
    return std::make_unique<SeparableKernel>(variant_ukernel<PoolF32>(kind_, variant), op_, count_pad, p);
  }

 private:
  static constexpr int64_t kWidest = 16;
  Pool op_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Separable>("max_pool2", Pool::max);
  c.add<Separable>("average_pool2", Pool::sum);
}
}  // namespace PW_COLLECT

}  // namespace pw
