// conv2/strassen: a 1x1 convolution as one large product over its pixels, by Strassen.
#include "products/geometry.h"
#include "products/strassen.h"

namespace pw {
namespace {

class ConvolutionStrassen : public Routine, public Estimating {
 public:
  ConvolutionStrassen() : Routine({.id = "conv2/strassen:f32:nhwc:cpu", .version = 2, .accuracy = Accuracy::f32, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc); !v) return v;
    const Geometry g(p);
    if (g.taps() != 1 || g.groups != 1) return Verdict::no("the kernel is not 1x1 without groups");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.pads()) return Verdict::no("the input is padded");
    return accepts_strassen(p, g.images * g.out_pixels(), g.inputs, g.outputs);
  }
  std::vector<std::string> variants(const Problem& p) const override {
    const Geometry g(p);
    return strassen_variants(g.images * g.out_pixels(), g.inputs, g.outputs, epilogue_act(p));
  }
  Ports ports(const Problem& p) const override { return convolution_ports(p, Layout::nhwc, Layout::nhwc); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    return strassen_estimate(p, g.images * g.out_pixels(), g.inputs, g.outputs, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return std::make_unique<StrassenKernel>(
        StrassenProblem{g.images * g.out_pixels(), g.inputs, g.outputs, 1, g.inputs, c[1], bias_of(p, c),
                        *epilogue_activation(p), p.threads},
        variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<ConvolutionStrassen>(); }
}  // namespace PW_COLLECT
}  // namespace pw
