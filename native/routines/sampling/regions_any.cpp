// roi_align and max_roi_pool: regions of an image. Places are found in double, elements are weighted in their own type.
#include <cmath>
#include <utility>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr double kFar = 1099511627776.0;  // 2^40
constexpr double kMostSamples = 1 << 20;  // per output and axis

// Elements from one row, column and channel to the next.
struct Steps {
  int64_t image, row, column, channel;
  Steps(const Operand& o) {
    int64_t step[4];
    steps_of(o, step);
    image = step[0], channel = step[1], row = step[2], column = step[3];
  }
};

// A place between two elements of an axis.
struct Between {
  int64_t low, high;
  double share;  // of `high`
  bool inside;
  Between(double at, int64_t size) : inside(at >= -1 && at <= static_cast<double>(size)) {
    at = inside ? std::max(at, 0.0) : 0.0;
    low = std::min(static_cast<int64_t>(at), size - 1);
    high = std::min(low + 1, size - 1);
    share = low == size - 1 ? 0.0 : at - static_cast<double>(low);
  }
};

struct Part {
  double start, step;
  int64_t samples;
  double at(int64_t bin, int64_t i) const {
    const double parts = static_cast<double>(std::max<int64_t>(1, samples));
    return start + static_cast<double>(bin) * step + (static_cast<double>(i) + 0.5) * step / parts;
  }
  // The samples of a bin from the first to the last that lies inside an axis, and some beside them: regions may be far larger
  // than the image, and what lies outside is 0. Places grow with the samples, or fall where the region is upside down.
  std::pair<int64_t, int64_t> seen(int64_t bin, int64_t size) const {
    if (std::fabs(step) < 1e-3) return {0, samples};  // few samples
    const double each = step / static_cast<double>(samples), begin = start + static_cast<double>(bin) * step;
    const double a = (-1.0 - begin) / each, b = (static_cast<double>(size) - begin) / each, most = static_cast<double>(samples);
    const double first = std::clamp(std::floor(std::min(a, b)) - 2, 0.0, most);
    const double last = std::clamp(std::ceil(std::max(a, b)) + 2, 0.0, most);
    return {static_cast<int64_t>(first), static_cast<int64_t>(last)};
  }
};

template <class T>
class AlignKernel : public AnyKernel {
 public:
  AlignKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), max_(p.word("mode") == "max"), half_(p.integer("half_pixel") != 0),
        ratio_(p.integer("ratio")), scale_(p.number("scale")), narrow_(p.in[2].dtype == DType::i32) {}

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), rois = operands_.in(1, c), indices = operands_.in(2, c), y = operands_.out(0, c);
    const int64_t rows = y.size[0] * y.size[2], channels = y.size[1];
    const Steps from(x), to(y);
    bool outside = false;
    in_pieces(c.team, rows, 1, 16 * y.count(), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t r = i / y.size[2], bin = i % y.size[2];
        const int64_t image = narrow_ ? indices.as<int32_t>()[r] : indices.as<int64_t>()[r];
        Part down, across;
        if (image < 0 || image >= x.size[0] || !parts(rois.as<T>() + r * 4, y, down, across)) {
          outside = true;
          continue;
        }
        for (int64_t column = 0; column < y.size[3]; ++column)
          one(x.as<T>() + image * from.image, x, from, down, across, bin, column, channels,
              static_cast<T*>(c.out[0]) + r * to.image + bin * to.row + column * to.column, to.channel);
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  bool parts(const T* roi, const Operand& y, Part& down, Part& across) const {
    const double shift = half_ ? 0.5 : 0.0;
    const double left = roi[0] * scale_ - shift, top = roi[1] * scale_ - shift;
    double width = roi[2] * scale_ - shift - left, height = roi[3] * scale_ - shift - top;
    if (!half_) width = std::max(width, 1.0), height = std::max(height, 1.0);
    if (!std::isfinite(left) || !std::isfinite(top) || !std::isfinite(width) || !std::isfinite(height)) return false;
    return part(top, height, y.size[2], down) && part(left, width, y.size[3], across);
  }
  bool part(double start, double length, int64_t bins, Part& part) const {
    const double step = length / static_cast<double>(bins);
    const double samples = ratio_ > 0 ? static_cast<double>(ratio_) : std::ceil(std::min(std::max(step, 0.0), kFar));
    part = {start, step, static_cast<int64_t>(samples)};
    return samples <= kMostSamples;
  }
  void one(const T* image, const Operand& x, const Steps& from, const Part& down, const Part& across, int64_t bin, int64_t column,
           int64_t channels, T* y, int64_t y_step) const {
    const int64_t count = down.samples * across.samples;
    const auto [top, bottom] = down.seen(bin, x.size[2]);
    const auto [left, right] = across.seen(column, x.size[3]);
    const bool all = (bottom - top) * (right - left) == count;
    const T start = max_ && all && count ? -std::numeric_limits<T>::infinity() : T{};
    for (int64_t c = 0; c < channels; ++c) y[c * y_step] = start;
    if (count == 0) return;
    for (int64_t i = top; i < bottom; ++i) {
      const Between v(down.at(bin, i), x.size[2]);
      for (int64_t j = left; j < right; ++j) {
        const Between h(across.at(column, j), x.size[3]);
        const bool inside = v.inside && h.inside;
        const T weight[4] = {static_cast<T>((1 - v.share) * (1 - h.share)), static_cast<T>((1 - v.share) * h.share),
                             static_cast<T>(v.share * (1 - h.share)), static_cast<T>(v.share * h.share)};
        const T* corner[4] = {image + v.low * from.row + h.low * from.column, image + v.low * from.row + h.high * from.column,
                              image + v.high * from.row + h.low * from.column, image + v.high * from.row + h.high * from.column};
        if (max_) {
          for (int64_t c = 0; c < channels; ++c) {
            T best = y[c * y_step];
            for (int k = 0; k < 4; ++k) {
              const T value = inside ? weight[k] * corner[k][c * from.channel] : T{};
              best = value > best || value != value ? value : best;
            }
            y[c * y_step] = best;
          }
        } else if (inside && from.channel == 1 && y_step == 1) {
          const T *a = corner[0], *b = corner[1], *d = corner[2], *e = corner[3];
          for (int64_t c = 0; c < channels; ++c) y[c] += weight[0] * a[c] + weight[1] * b[c] + weight[2] * d[c] + weight[3] * e[c];
        } else if (inside) {
          for (int64_t c = 0; c < channels; ++c)
            for (int k = 0; k < 4; ++k) y[c * y_step] += weight[k] * corner[k][c * from.channel];
        }
      }
    }
    if (!max_)
      for (int64_t c = 0; c < channels; ++c) y[c * y_step] /= static_cast<T>(count);
  }

  bool max_, half_;
  int64_t ratio_;
  double scale_;
  bool narrow_;
};

template <class T>
class MaxKernel : public AnyKernel {
 public:
  MaxKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), scale_(p.number("scale")) {}

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), rois = operands_.in(1, c), y = operands_.out(0, c);
    const Steps from(x), to(y);
    const int64_t rows = y.size[0] * y.size[2], channels = y.size[1];
    bool outside = false;
    in_pieces(c.team, rows, 1, 16 * y.count(), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t r = i / y.size[2], bin = i % y.size[2];
        const T* roi = rois.as<T>() + r * 5;
        bool finite = true;
        for (int k = 0; k < 5; ++k) finite = finite && std::isfinite(roi[k]);
        const double image = finite ? std::trunc(static_cast<double>(roi[0])) : -1;
        if (image < 0 || image >= static_cast<double>(x.size[0])) {
          outside = true;
          continue;
        }
        const auto down = range(place(roi[2]), place(roi[4]), bin, y.size[2], x.size[2]);
        const T* source = x.as<T>() + static_cast<int64_t>(image) * from.image;
        for (int64_t column = 0; column < y.size[3]; ++column) {
          const auto across = range(place(roi[1]), place(roi[3]), column, y.size[3], x.size[3]);
          T* target = static_cast<T*>(c.out[0]) + r * to.image + bin * to.row + column * to.column;
          one(source, from, down, across, channels, target, to.channel);
        }
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  struct Range {
    int64_t first, last;
  };
  int64_t place(T at) const {
    return static_cast<int64_t>(std::round(std::clamp(static_cast<double>(at) * scale_, -kFar, kFar)));
  }
  static Range range(int64_t start, int64_t end, int64_t bin, int64_t bins, int64_t size) {
    const float step = static_cast<float>(std::max<int64_t>(end - start + 1, 1)) / static_cast<float>(bins);
    const auto first = static_cast<int64_t>(std::floor(static_cast<float>(bin) * step)) + start;
    const auto last = static_cast<int64_t>(std::ceil(static_cast<float>(bin + 1) * step)) + start;
    return {std::clamp<int64_t>(first, 0, size), std::clamp<int64_t>(last, 0, size)};
  }
  static void one(const T* x, const Steps& from, const Range& down, const Range& across, int64_t channels, T* y, int64_t step) {
    const bool empty = down.first >= down.last || across.first >= across.last;
    const T start = empty ? T{} : -std::numeric_limits<T>::infinity();
    for (int64_t c = 0; c < channels; ++c) y[c * step] = start;
    if (empty) return;
    for (int64_t i = down.first; i < down.last; ++i)
      for (int64_t j = across.first; j < across.last; ++j) {
        const T* at = x + i * from.row + j * from.column;
        for (int64_t c = 0; c < channels; ++c) {
          const T value = at[c * from.channel];
          y[c * step] = value > y[c * step] || value != value ? value : y[c * step];
        }
      }
  }

  double scale_;
};

template <template <class> class K>
class Regions : public AnyRoutine {
 public:
  Regions(const std::string& layer, Layout images) : AnyRoutine(layer, "bins", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() < 2 || p.in[0].shape.size() != 4) return Verdict::no("it takes an image and regions");
    if (p.in[0].dtype != DType::f32 && p.in[0].dtype != DType::f64) return Verdict::no("the element type is neither f32 nor f64");
    if (p.in[0].constant && images_ == Layout::nhwc) return Verdict::no("the image is a constant");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    if (p.in[0].dtype == DType::f64) return std::make_unique<K<double>>(p, constants, images_);
    return std::make_unique<K<float>>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nhwc, Layout::nchw}) {
    c.add<Regions<AlignKernel>>("roi_align", images);
    c.add<Regions<MaxKernel>>("max_roi_pool", images);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
