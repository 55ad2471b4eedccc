// conv2/pointwise on u8: a 1x1 convolution of stride 1 is a matrix product over the pixels where they lie.
#include "products/estimates_u8.h"
#include "products/geometry_u8.h"
#include "products/rows_u8.h"

namespace pw {
namespace {

class PointwiseU8 : public Routine, public Estimating {
 public:
  PointwiseU8()
      : Routine({.id = "conv2/pointwise:u8:nhwc:cpu", .version = 3, .accuracy = Accuracy::quantised,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution_u8(p, PW_KIND_GEMM_U8); !v) return v;
    const Geometry g(p);
    if (g.taps() != 1) return Verdict::no("the kernel is not 1x1");
    if (g.groups != 1) return Verdict::no("groups are not 1");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.pads()) return Verdict::no("the input is padded");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_u8_variants(epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    return product_u8_estimate({.rows = g.images * g.out_pixels(), .depth = g.inputs, .columns = g.outputs,
                                .end = end_of(epilogue_act(p))}, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return std::make_unique<RowsU8Kernel>(p, c, g.images * g.out_pixels(), g.inputs, g.outputs, bias_of(p, c),
                                          gemm_u8_kernel(variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<PointwiseU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
