// transpose in general.
#include "routines/shaping/permute.h"
#include "spi/estimate.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {
namespace {

class Permute : public VectorRoutine, public Estimating {
 public:
  explicit Permute(Layout layout) : VectorRoutine("transpose", "permute", layout, PW_KIND_TRANSPOSE_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.in[0]);
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.04);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<PermuteKernel<float, TransposeF32>>(variant_ukernel<TransposeF32>(kind_, variant),
                                                                layout_, p);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) c.add<Permute>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
