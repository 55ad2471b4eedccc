// conv2/gemv on u8: a 1x1 convolution of 1x1 images, as in squeeze-and-excite, is a dense layer.
#include "products/estimates_u8.h"
#include "products/gemv_u8.h"
#include "products/geometry_u8.h"

namespace pw {
namespace {

class ConvolutionGemvU8 : public Routine, public Estimating {
 public:
  ConvolutionGemvU8() : Routine({.id = "conv2/gemv:u8:nhwc:cpu", .version = 2, .accuracy = Accuracy::quantised,
                                   .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution_u8(p, PW_KIND_GEMV_U8); !v) return v;
    const Geometry g(p);
    if (g.taps() != 1 || g.groups != 1) return Verdict::no("the kernel is not 1x1 without groups");
    if (g.in_pixels() != 1 || g.out_pixels() != 1) return Verdict::no("the images are larger than 1x1");
    if (g.images > kMostGemvRows)
      return Verdict::no("more than " + std::to_string(kMostGemvRows) +
                         " images, and each would read all weights again");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemv_u8_variants(epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const Geometry g(p);
    return gemv_u8_estimate(g.images, g.inputs, g.outputs, end_of(epilogue_act(p)));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    return std::make_unique<GemvU8Kernel>(p, c, g.images, g.inputs, g.outputs, bias_of(p, c), variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<ConvolutionGemvU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
