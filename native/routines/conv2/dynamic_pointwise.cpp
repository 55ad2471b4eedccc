// conv2/dynamic_pointwise: a 1x1 convolution as a product of 8 bits between f32 values; every pixel finds its own scale.
#include "products/dynamic_u8.h"
#include "products/geometry.h"

namespace pw {
namespace {

class DynamicPointwise : public Routine, public Estimating {
 public:
  DynamicPointwise()
      : Routine({.id = "conv2/dynamic_pointwise:qint8:nhwc:cpu", .accuracy = Accuracy::quantised, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc, PW_KIND_DYNAMIC_U8); !v) return v;
    const Geometry g(p);
    if (g.taps() != 1) return Verdict::no("the kernel is not 1x1");
    if (g.groups != 1) return Verdict::no("groups are not 1");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.pads()) return Verdict::no("the input is padded");
    return accepts_dynamic(p, g.inputs);
  }
  std::vector<std::string> variants(const Problem&) const override { return dynamic_gemm_variants(); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    return dynamic_estimate(g.images * g.out_pixels(), g.inputs, g.outputs, variant, false);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return dynamic_gemm({p, c, g.inputs, g.outputs, 1}, variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DynamicPointwise>(); }
}  // namespace PW_COLLECT
}  // namespace pw
