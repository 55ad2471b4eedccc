// transpose of u8 values in general.
#include "routines/shaping/permute.h"
#include "ukernels/kinds/transpose_u8.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

class PermuteU8 : public VectorU8Routine {
 public:
  explicit PermuteU8(Layout layout) : VectorU8Routine("transpose", "permute", layout, PW_KIND_TRANSPOSE_U8) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.in[0]);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    return std::make_unique<PermuteKernel<uint8_t, TransposeU8, ByteTable>>(
        variant_ukernel<TransposeU8>(kind_, variant), layout_, p,
        rescaling(scale_in(constants, 0), scale_out(p, constants)));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) c.add<PermuteU8>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
