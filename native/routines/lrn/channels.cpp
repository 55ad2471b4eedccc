// Local response normalisation of images whose channels lie apart from each other: pixels that lie side by side go together.
#include "ukernels/kinds/norm_f32.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

// Pixels of a piece: those of the channels around are still in the first cache.
constexpr int64_t kPixels = 512;

class LrnKernel : public PieceKernel {
 public:
  LrnKernel(const LrnF32& kernel, const Problem& p)
      : kernel_(kernel), rank_(p.in[0].shape.size()), size_(p.integer("size")), beta_(static_cast<float>(p.number("beta"))),
        bias_(static_cast<float>(p.number("bias"))),
        alpha_(static_cast<float>(p.number("alpha") / static_cast<double>(size_))) {}
  bool open(size_t, size_t) const override { return true; }
  int run(const Context& c) noexcept override {
    const int64_t *size = c.in_sizes[0], channels = size[1];
    int64_t pixels = 1;
    for (size_t i = 2; i < rank_; ++i) pixels *= size[i];
    const int64_t blocks = (pixels + kPixels - 1) / kPixels, before = (size_ - 1) / 2, behind = size_ / 2;
    in_pieces(c.team, size[0] * blocks, 1, 8 * size[0] * channels * pixels, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        for (int64_t ch = 0; ch < channels; ++ch) {
          const int64_t from = i % blocks * kPixels, at = (i / blocks * channels + ch) * pixels + from;
          const LrnArgs args{static_cast<const float*>(c.in[0]) + at, static_cast<float*>(c.out[0]) + at,
                             std::min(kPixels, pixels - from), pixels, -std::min(before, ch),
                             std::min(behind, channels - 1 - ch), alpha_, beta_, bias_};
          kernel_.run(&args);
        }
    });
    return 0;
  }

 private:
  const LrnF32& kernel_;
  size_t rank_;
  int64_t size_;
  float beta_, bias_, alpha_;
};

class Lrn : public VectorRoutine {
 public:
  explicit Lrn(Layout layout) : VectorRoutine("lrn", "channels", layout, PW_KIND_LRN_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.in[0]);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<LrnKernel>(variant_ukernel<LrnF32>(kind_, variant), p);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::plain, Layout::nchw}) c.add<Lrn>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
