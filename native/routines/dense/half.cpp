// dense/gemm in bf16, bf16x2, bf16x3 and f16 on a matrix unit: a 1x1 convolution whose pixels are the rows of x.
#include "products/half.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

class DenseHalf : public HalfRoutine {
 public:
  explicit DenseHalf(const HalfForms& forms) : HalfRoutine("dense/gemm", Layout::plain, Layout::nchw, forms) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, kind()); !v) return v;
    if (p.in[0].shape.size() == 4) return Verdict::no("x has rank 4, whose rows are not whole in every layout");
    return has_kernel(p);
  }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const DenseShape s(p);
    const Geometry g = half_matrices(1, s.rows, s.depth, s.columns);
    return half_estimate(g, forms_, HalfScheme::can_be_in_place(g, forms_));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    const Geometry g = half_matrices(1, s.rows, s.depth, s.columns);
    const bool in_place = HalfScheme::can_be_in_place(g, forms_);
    return half_convolution({g, forms_, HalfWeights::of_convolution(c[1], g), {}, bias_of(p, c), *epilogue_activation(p),
                             p.epilogue.add, p.threads},
                            {in_place, false, !in_place}, half_kernel(forms_.part, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { collect_half<DenseHalf>(c, false); }
}  // namespace PW_COLLECT
}  // namespace pw
