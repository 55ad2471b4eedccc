// conv2/gemv: a 1x1 convolution of 1x1 images, as in squeeze-and-excite, is a dense layer on its weights where they lie.
#include "routines/conv2/geometry.h"
#include "routines/dense/gemv.h"

namespace pw {
namespace {

class ConvolutionGemv : public ConvolutionRoutine {
 public:
  ConvolutionGemv(Layout layout, const char* id) : ConvolutionRoutine(id, layout, layout) {}
  Verdict suits(const Problem&, const Geometry& g) const override {
    if (g.taps() != 1 || g.groups != 1) return Verdict::no("the kernel is not 1x1 without groups");
    if (g.in_pixels() != 1 || g.out_pixels() != 1) return Verdict::no("the images are larger than 1x1");
    if (g.images > kMostGemvRows)
      return Verdict::no("more than " + std::to_string(kMostGemvRows) +
                         " images, and each would read all weights again");
    if (ukernel_names(PW_KIND_GEMV_F32).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override {
    return ukernel_names(PW_KIND_GEMV_F32);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return std::make_unique<GemvKernel>(GemvProblem{g.images, g.inputs, g.outputs, c[1].as<float>(), bias_of(p, c),
                                                    *epilogue_activation(p), p.epilogue.add, p.threads},
                                        variant);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  // One pixel lies the same way in every layout.
  c.add<ConvolutionGemv>(Layout::nhwc, "conv2/gemv:f32:nhwc:cpu");
  c.add<ConvolutionGemv>(Layout::nchw, "conv2/gemv:f32:nchw:cpu");
  c.add<ConvolutionGemv>(Layout::nchw16c, "conv2/gemv:f32:nchw16c:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
