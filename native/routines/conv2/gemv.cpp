// conv2/gemv: a 1x1 convolution of 1x1 images, as in squeeze-and-excite, is a dense layer on its weights as they lie, in
// f32 or copied to 16 bits.
#include "products/gemv.h"
#include "products/geometry.h"

namespace pw {
namespace {

template <class W, class X>
class ConvolutionGemv : public ConvolutionRoutine, public Estimating {
 public:
  explicit ConvolutionGemv(Layout layout)
      : ConvolutionRoutine(gemv_id<W, X>("conv2/gemv", layout), layout, layout,
                           std::is_same_v<W, float> ? Accuracy::strict : Accuracy::reduced, kStored<X>) {
    applying_ = PW_KIND_ACTIVATION_F32;
    card_.version = 2;
  }
  Verdict suits(const Problem&, const Geometry& g) const override {
    if (g.taps() != 1 || g.groups != 1) return Verdict::no("the kernel is not 1x1 without groups");
    if (g.in_pixels() != 1 || g.out_pixels() != 1) return Verdict::no("the images are larger than 1x1");
    if (g.images > kMostGemvRows)
      return Verdict::no("more than " + std::to_string(kMostGemvRows) +
                         " images, and each would read all weights again");
    if (ukernel_names(gemv_kind<W, X>()).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(gemv_kind<W, X>()); }
  Ports ports(const Problem& p) const override { return preferred(ConvolutionRoutine::ports(p)); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const Geometry g(p);
    const double rows = static_cast<double>(g.images), depth = static_cast<double>(g.inputs);
    return gemv_estimate(rows, depth, static_cast<double>(g.outputs), sizeof(W));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return std::make_unique<GemvKernel<W, X>>(
        GemvProblem{g.images, g.inputs, g.outputs, c[1], bias_of(p, c), *epilogue_activation(p), p.epilogue.add, p.threads},
        variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  // One pixel lies the same way in every layout.
  for (Layout layout : {Layout::nhwc, Layout::nchw, Layout::nchw16c}) c.add<ConvolutionGemv<float, float>>(layout);
  for_each_half([&](auto half) {
    c.add<ConvolutionGemv<decltype(half), float>>(Layout::nhwc);
    c.add<ConvolutionGemv<decltype(half), decltype(half)>>(Layout::nhwc);
  });
}
}  // namespace PW_COLLECT
}  // namespace pw
