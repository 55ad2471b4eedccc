// Maximum and mean over windows of two and three axes: windows clipped to the image, whole rows of outputs at a time. What the
// taps along the third axis see is folded plane by plane.
#include "products/matrix.h"
#include "routines/pooling/axis.h"
#include "spi/estimate.h"
#include "ukernels/kinds/pool_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

template <class T>
class WindowKernel : public PieceKernel {
 public:
  WindowKernel(const PoolOf<T>& kernel, Pool op, bool count_pad, Layout layout, const Problem& p)
      : kernel_(kernel), op_(op), count_pad_(count_pad), row_(facts(layout).row_major()) {
    const Dims& in = p.in[0].shape;
    const size_t axes = in.size() - 2, missing = 3 - axes;
    axis_[0] = {1, 1, 1, 1, 0, 0, 1};
    for (size_t i = 0; i < axes; ++i) axis_[missing + i] = window_axis(p, i);
    channels_ = layout == Layout::nchw16c ? 16 : row_ ? 1 : in[1];
    planes_ = in[0] * in[1] / channels_;
    if (axis_[0].kernel == 1) return;
    fold_ = &best_ukernel<BinaryOf<T>>(stored_kind<T>(PW_KIND_BINARY));
    areas_ = {round_up(axis_[2].out * channels_ * static_cast<int64_t>(sizeof(T)), 64), p.threads};
  }
  size_t workspace_bytes() const override { return areas_.total(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto &d = axis_[0], &v = axis_[1], &h = axis_[2];
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    T* other = areas_.own<T>(workspace, team);
    const int64_t rows = planes_ * d.out * v.out, plane = v.length * h.length * channels_;
    in_pieces(team, rows, 1, rows * h.out * channels_ * d.kernel * v.kernel * h.kernel / 4, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t oz = i / v.out % d.out, front = d.first(oz), back = std::max(d.last(oz), front + 1);
        const T* volume = x + i / (v.out * d.out) * d.length * plane;
        const int64_t deep = count_pad_ ? d.padded_count(oz) : d.last(oz) - front;
        T* row = y + i * h.out * channels_;
        for (int64_t k = front; k < back; ++k) {
          // Where no tap lies inside, the row is what a window of nothing is.
          const bool inside = k < d.last(oz);
          one_row(volume + (inside ? d.start(oz) + k * d.dilation : 0) * plane, k == front ? row : other, i % v.out, deep, inside);
          if (k > front) fold(row, other, h.out * channels_);
        }
      }
    });
  }

 private:
  // y = max(y, other) or y + other.
  void fold(T* y, const T* other, int64_t n) const noexcept {
    const BinaryArgs<T> args{op_ == Pool::max ? Binary::maximum : Binary::add, y, other, y, 1, n, n, n, false, false,
                             -__builtin_inff(), __builtin_inff()};
    fold_->run(&args);
  }

  // One plane's share of row `oy`, `deep` of which count. `inside`: false for a plane that lies outside.
  void one_row(const T* plane, T* y, int64_t oy, int64_t deep, bool inside) const noexcept {
    const auto &v = axis_[1], &h = axis_[2];
    const int64_t top = v.first(oy), bottom = inside ? v.last(oy) : top;
    PoolArgs<T> args{};
    args.op = op_;
    args.x_pixel = h.stride * channels_;
    args.y_pixel = channels_;
    args.tap_rows = std::max<int64_t>(0, bottom - top);
    args.x_tap_row = v.dilation * h.length * channels_;
    args.x_tap_column = h.dilation * channels_;
    args.channels = channels_;
    const T* row = plane + (v.start(oy) + top * v.dilation) * h.length * channels_;
    const int64_t inner_first = h.inner_first(), inner_last = h.inner_last();
    auto pixels = [&](int64_t ox, int64_t n) {
      const int64_t left = h.first(ox), right = h.last(ox);
      args.tap_columns = std::max<int64_t>(0, right - left);
      args.x = row + (h.start(ox) + left * h.dilation) * channels_;
      args.y = y + ox * channels_;
      args.pixels = n;
      const int64_t tall = std::max<int64_t>(1, deep) * std::max<int64_t>(1, count_pad_ ? v.padded_count(oy) : args.tap_rows);
      const int64_t wide = count_pad_ ? h.padded_count(ox) : args.tap_columns;
      args.scale = 1.0f / static_cast<float>(tall * std::max<int64_t>(1, wide));
      row_ ? kernel_.row(&args) : kernel_.channels(&args);
    };
    for (int64_t ox = 0; ox < inner_first; ++ox) pixels(ox, 1);
    if (inner_first < inner_last) pixels(inner_first, inner_last - inner_first);
    for (int64_t ox = inner_last; ox < h.out; ++ox) pixels(ox, 1);
  }

  const PoolOf<T>& kernel_;
  const BinaryOf<T>* fold_ = nullptr;
  Pool op_;
  bool count_pad_, row_;
  WindowAxis axis_[3];  // the first has one tap where there are two
  ThreadAreas areas_;   // a row of another plane
  int64_t channels_, planes_;
};

template <class T>
class Window : public VectorRoutine, public Estimating {
 public:
  Window(const std::string& layer, Pool op, Layout layout)
      : VectorRoutine(layer, "direct", layout, stored_kind<T>(PW_KIND_POOL), false, kStored<T>),
        op_(op) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (p.in[0].shape.size() != (p.kind.ends_with('3') ? 5 : 4)) return Verdict::no("the rank is another one");
    return this->basics(p, p.in[0]);
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(this->layout_ == Layout::nchw ? 0.018 : 0.09);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    const bool count_pad = op_ == Pool::sum && p.integer("count_pad") != 0;
    return std::make_unique<WindowKernel<T>>(variant_ukernel<PoolOf<T>>(this->kind_, variant), op_, count_pad,
                                             this->layout_, p);
  }

 private:
  Pool op_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kImageLayouts) {
    c.add<Window<float>>("max_pool2", Pool::max, layout);
    c.add<Window<float>>("average_pool2", Pool::sum, layout);
  }
  // Over three axes with the channels last alone: rows of one channel are too short for calls plane by plane.
  c.add<Window<float>>("max_pool3", Pool::max, Layout::ndhwc);
  c.add<Window<float>>("average_pool3", Pool::sum, Layout::ndhwc);
  for_each_half([&](auto half) {
    c.add<Window<decltype(half)>>("max_pool2", Pool::max, Layout::nhwc);
    c.add<Window<decltype(half)>>("average_pool2", Pool::sum, Layout::nhwc);
  });
}
}  // namespace PW_COLLECT

}  // namespace pw
