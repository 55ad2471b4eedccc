// Changes of layout: channels first, last and in blocks. f32 images have routines of their own, with variants to measure;
// what has another element type or rank is moved by one routine per pair of layouts, whatever the size of its elements.
#include <cstring>

#include "spi/estimate.h"
#include "ukernels/kinds/transpose_f32.h"
#include "ukernels/kinds/transpose_u8.h"
#include "values/vector.h"

namespace pw {
namespace {

// y[c * y_row + r] = x[r * x_row + c] of elements of 2 and 8 bytes, for which there is no micro-kernel. Blocks of 16 x 16
// keep the lines of both sides in the first cache.
template <class T>
struct Plain {
  void run(const T* x, int64_t x_row, T* y, int64_t y_row, int64_t rows, int64_t columns) const {
    constexpr int64_t kBlock = 16;
    for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
      for (int64_t c0 = 0; c0 < columns; c0 += kBlock)
        for (int64_t c = c0; c < std::min(columns, c0 + kBlock); ++c)
          for (int64_t r = r0; r < std::min(rows, r0 + kBlock); ++r) y[c * y_row + r] = x[r * x_row + c];
  }
};

// Where the channels of a layout lie.
enum class Channels { first, last, blocks };
Channels channels_of(Layout layout) {
  return facts(layout).block ? Channels::blocks : facts(layout).row_major() ? Channels::first : Channels::last;
}

// T: what is as large as an element. A value is images x channels x pixels, the pixels being all axes behind the channels.
template <class T, class Transpose>
class AdaptKernel : public PieceKernel {
 public:
  AdaptKernel(const Transpose& kernel, Layout source, Layout target, const Dims& shape)
      : kernel_(kernel), source_(channels_of(source)), target_(channels_of(target)), images_(shape[0]), channels_(shape[1]),
        pixels_(count(shape) / (shape[0] * shape[1])),
        same_(memory_order(source, shape) == memory_order(target, shape)) {}

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t image = channels_ * pixels_, total = images_ * image;
    if (same_) {
      if (x == y) return;
      return in_pieces(team, total, 1024, total, [&](int64_t first, int64_t last) {
        std::memcpy(y + first, x + first, static_cast<size_t>(last - first) * sizeof(T));
      });
    }
    // Pieces are runs of pixels, so that both sides are walked in long stretches; small images are cut along their
    // channels too.
    const int64_t grain = std::max<int64_t>(64, (4096 / channels_ + 15) / 16 * 16);
    const int64_t runs = (pixels_ + grain - 1) / grain;
    const int64_t width = images_ * runs >= 16 ? channels_ : std::min<int64_t>(64, channels_);
    const int64_t groups = (channels_ + width - 1) / width;
    in_pieces(team, images_ * groups * runs, 1, total, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t p = i % runs * grain, c = i / runs % groups * width, at = i / runs / groups * image;
        piece(x + at, y + at, p, std::min(grain, pixels_ - p), c, std::min(width, channels_ - c));
      }
    });
  }

 private:
  // Pixels [p, p + n), channels [c, c + width) of one image.
  void piece(const T* x, T* y, int64_t p, int64_t n, int64_t c, int64_t width) const noexcept {
    const int64_t planar = c * pixels_ + p, last = p * channels_ + c;  // where they start, channels first and last
    if (source_ == Channels::first && target_ == Channels::last)
      return kernel_.run(x + planar, pixels_, y + last, channels_, width, n);
    if (source_ == Channels::last && target_ == Channels::first)
      return kernel_.run(x + last, channels_, y + planar, pixels_, n, width);
    for (int64_t k = 0; k < width; k += 16) {
      const int64_t block = (c + k) * pixels_ + p * 16;
      if (source_ == Channels::first) kernel_.run(x + planar + k * pixels_, pixels_, y + block, 16, 16, n);
      else if (target_ == Channels::first) kernel_.run(x + block, 16, y + planar + k * pixels_, pixels_, n, 16);
      else if (source_ == Channels::last) lanes(x + last + k, channels_, y + block, 16, n);
      else lanes(x + block, 16, y + last + k, channels_, n);
    }
  }
  static void lanes(const T* x, int64_t x_step, T* y, int64_t y_step, int64_t n) noexcept {
    for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * y_step, x + i * x_step, 16 * sizeof(T));
  }

  const Transpose kernel_;
  Channels source_, target_;
  int64_t images_, channels_, pixels_;
  bool same_;
};

class Adapt : public VectorRoutine, public Estimating {
 public:
  Adapt(Layout source, Layout target)
      : VectorRoutine("adapt", "transpose", source, PW_KIND_TRANSPOSE_F32), target_(target) {
    card_.id = std::string("adapt/transpose:f32:") + pw::text(source) + "-" + pw::text(target) + ":cpu";
  }
  Verdict accepts(const Problem& p) const override {
    const Format source{DType::f32, layout_, "cpu"}, target{DType::f32, target_, "cpu"};
    if (p.word("source") != pw::text(source) || p.word("target") != pw::text(target))
      return Verdict::no("it goes from " + pw::text(source) + " to " + pw::text(target));
    if (p.in[0].dtype != DType::f32 || p.in[0].count() == 0)
      return Verdict::no("it takes f32 values that are not empty");
    for (Layout layout : {layout_, target_})
      if (!fits(layout, p.in[0].shape)) return Verdict::no(std::string("the value does not fit ") + pw::text(layout));
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports;
    ports.in = {{DType::f32, layout_, "cpu"}};
    ports.out = {{DType::f32, target_, "cpu"}};
    if (memory_order(layout_, p.in[0].shape) == memory_order(target_, p.in[0].shape)) ports.share.push_back({0, 0, 0});
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.03);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<AdaptKernel<float, TransposeF32>>(variant_ukernel<TransposeF32>(kind_, variant), layout_,
                                                              target_, p.in[0].shape);
  }

 private:
  Layout target_;
};

// Values as they are, of any element type.
class AdaptAny : public Routine, public Estimating {
 public:
  AdaptAny(Layout source, Layout target)
      : Routine({.id = std::string("adapt/transpose:any:") + pw::text(source) + "-" + pw::text(target) + ":cpu",
                 .layer = "adapt"}),
        source_(source), target_(target) {}
  Verdict accepts(const Problem& p) const override {
    const DType dtype = p.in[0].dtype;
    if (p.word("source") != pw::text(Format{dtype, source_, "cpu"}) || p.word("target") != pw::text(Format{dtype, target_, "cpu"}))
      return Verdict::no(std::string("it goes from ") + pw::text(source_) + " to " + pw::text(target_) +
                         ", in the value's own element type");
    if (dtype == DType::f32 && of_rank(Layout::nchw, p.in[0].shape.size()))
      return Verdict::no("f32 images have routines of their own");
    if (p.in[0].count() == 0) return Verdict::no("the value is empty");
    for (Layout layout : {source_, target_})
      if (!fits(layout, p.in[0].shape)) return Verdict::no(std::string("the value does not fit ") + pw::text(layout));
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports;
    ports.in = {{p.in[0].dtype, source_, "cpu"}};
    ports.out = {{p.in[0].dtype, target_, "cpu"}};
    if (memory_order(source_, p.in[0].shape) == memory_order(target_, p.in[0].shape)) ports.share.push_back({0, 0, 0});
    return ports;
  }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const size_t size = size_of(p.in[0].dtype);
    return Estimate::at(size == 1 || size == 4 ? kAnyShare : kAnyShare / 2);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    const Dims& shape = p.in[0].shape;
    switch (size_of(p.in[0].dtype)) {
      case 1: return made<uint8_t>(best_ukernel<TransposeU8>(PW_KIND_TRANSPOSE_U8), shape);
      case 2: return made<uint16_t>(Plain<uint16_t>{}, shape);
      case 4: return made<float>(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32), shape);
      default: return made<uint64_t>(Plain<uint64_t>{}, shape);
    }
  }

 private:
  template <class T, class Transpose>
  std::unique_ptr<Kernel> made(const Transpose& kernel, const Dims& shape) const {
    return std::make_unique<AdaptKernel<T, Transpose>>(kernel, source_, target_, shape);
  }
  static constexpr double kAnyShare = 0.05;  // with a micro-kernel, else half of it

  Layout source_, target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout source : kImageLayouts)
    for (Layout target : kImageLayouts)
      if (source != target) {
        c.add<Adapt>(source, target);
        c.add<AdaptAny>(source, target);
      }
  for (Layout last : {Layout::nlc, Layout::ndhwc}) {
    const Layout first = plain_layout(static_cast<size_t>(facts(last).rank));
    c.add<AdaptAny>(first, last);
    c.add<AdaptAny>(last, first);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
