// Changes of layout of images: nchw, nhwc, nchw16c.
#include <cstring>

#include "ukernels/kinds/transpose_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

class AdaptKernel : public PieceKernel {
 public:
  AdaptKernel(const TransposeF32& kernel, Layout source, Layout target, const Dims& shape)
      : kernel_(kernel), source_(source), target_(target), images_(shape[0]), channels_(shape[1]),
        pixels_(shape[2] * shape[3]), same_(memory_order(source, shape) == memory_order(target, shape)) {}

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const float* x = static_cast<const float*>(in[0]);
    float* y = static_cast<float*>(out[0]);
    const int64_t image = channels_ * pixels_, total = images_ * image;
    if (same_) {
      if (x == y) return;
      return in_pieces(team, total, 1024, total, [&](int64_t first, int64_t last) {
        std::memcpy(y + first, x + first, static_cast<size_t>(last - first) * 4);
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
  void piece(const float* x, float* y, int64_t p, int64_t n, int64_t c, int64_t width) const noexcept {
    const int64_t planar = c * pixels_ + p, last = p * channels_ + c;  // where they start in nchw and in nhwc
    if (source_ == Layout::nchw && target_ == Layout::nhwc)
      return kernel_.run(x + planar, pixels_, y + last, channels_, width, n);
    if (source_ == Layout::nhwc && target_ == Layout::nchw)
      return kernel_.run(x + last, channels_, y + planar, pixels_, n, width);
    for (int64_t k = 0; k < width; k += 16) {
      const int64_t block = (c + k) * pixels_ + p * 16;
      if (source_ == Layout::nchw) kernel_.run(x + planar + k * pixels_, pixels_, y + block, 16, 16, n);
      else if (target_ == Layout::nchw) kernel_.run(x + block, 16, y + planar + k * pixels_, pixels_, n, 16);
      else if (source_ == Layout::nhwc) lanes(x + last + k, channels_, y + block, 16, n);
      else lanes(x + block, 16, y + last + k, channels_, n);
    }
  }
  static void lanes(const float* x, int64_t x_step, float* y, int64_t y_step, int64_t n) noexcept {
    for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * y_step, x + i * x_step, 64);
  }

  const TransposeF32& kernel_;
  Layout source_, target_;
  int64_t images_, channels_, pixels_;
  bool same_;
};

class Adapt : public VectorRoutine {
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
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<AdaptKernel>(variant_ukernel<TransposeF32>(kind_, variant), layout_, target_,
                                         p.in[0].shape);
  }

 private:
  Layout target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout source : kImageLayouts)
    for (Layout target : kImageLayouts)
      if (source != target) c.add<Adapt>(source, target);
}
}  // namespace PW_COLLECT

}  // namespace pw
