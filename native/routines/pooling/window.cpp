// max_pool2 and average_pool2: windows clipped to the image, whole rows of outputs at a time.
#include "routines/pooling/axis.h"
#include "ukernels/kinds/pool_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

template <class T>
class WindowKernel : public PieceKernel {
 public:
  WindowKernel(const PoolOf<T>& kernel, Pool op, bool count_pad, Layout layout, const Problem& p)
      : kernel_(kernel), op_(op), count_pad_(count_pad), row_(layout == Layout::nchw) {
    const Dims &in = p.in[0].shape, &out = p.out[0].shape;
    const auto kernel_size = p.integers("kernel"), stride = p.integers("stride"), pad = p.integers("pad"),
               dilation = p.integers("dilation");
    for (size_t i = 0; i < 2; ++i)
      axis_[i] = {in[2 + i], out[2 + i], kernel_size[i], stride[i], pad[i], pad[i + 2], dilation[i]};
    channels_ = layout == Layout::nhwc ? in[1] : layout == Layout::nchw16c ? 16 : 1;
    planes_ = in[0] * in[1] / channels_;
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto &v = axis_[0], &h = axis_[1];
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t rows = planes_ * v.out, work = rows * h.out * channels_ * v.kernel * h.kernel / 4;
    in_pieces(team, rows, 1, work, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        one_row(x + i / v.out * v.length * h.length * channels_, y + i * h.out * channels_, i % v.out);
    });
  }

 private:
  void one_row(const T* plane, T* y, int64_t oy) const noexcept {
    const auto &v = axis_[0], &h = axis_[1];
    const int64_t top = v.first(oy), bottom = v.last(oy);
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
      const int64_t tall = count_pad_ ? v.padded_count(oy) : args.tap_rows;
      const int64_t wide = count_pad_ ? h.padded_count(ox) : args.tap_columns;
      args.scale = 1.0f / static_cast<float>(std::max<int64_t>(1, tall) * std::max<int64_t>(1, wide));
      row_ ? kernel_.row(&args) : kernel_.channels(&args);
    };
    for (int64_t ox = 0; ox < inner_first; ++ox) pixels(ox, 1);
    if (inner_first < inner_last) pixels(inner_first, inner_last - inner_first);
    for (int64_t ox = inner_last; ox < h.out; ++ox) pixels(ox, 1);
  }

  const PoolOf<T>& kernel_;
  Pool op_;
  bool count_pad_, row_;
  WindowAxis axis_[2];
  int64_t channels_, planes_;
};

template <class T>
class Window : public VectorRoutine {
 public:
  Window(const std::string& layer, Pool op, Layout layout)
      : VectorRoutine(layer, "direct", layout, stored_kind<T>(PW_KIND_POOL), false, kStored<T>),
        op_(op) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return this->basics(p, p.in[0]);
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
  for_each_half([&](auto half) {
    c.add<Window<decltype(half)>>("max_pool2", Pool::max, Layout::nhwc);
    c.add<Window<decltype(half)>>("average_pool2", Pool::sum, Layout::nhwc);
  });
}
}  // namespace PW_COLLECT

}  // namespace pw
