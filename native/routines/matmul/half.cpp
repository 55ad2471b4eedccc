// matmul/gemm in bf16, bf16x2, bf16x3 and f16 on a matrix unit; b is packed when the kernel is prepared or, where it is a
// value, by the team at the start of every run.
#include "products/half.h"
#include "routines/matmul/matmul.h"

namespace pw {
namespace {

class MatmulHalf : public HalfRoutine {
 public:
  explicit MatmulHalf(const HalfForms& forms) : HalfRoutine("matmul/gemm", Layout::plain, Layout::nchw, forms) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p, kind()); !v) return v;
    if (p.in[0].constant) return Verdict::no("a is a constant");
    if (p.in[1].shape.size() < 2) return Verdict::no("b is a vector");
    const MatmulSizes s(p);
    if (p.in[1].constant && s.b_matrices > 1) return Verdict::no("b is several constant matrices");
    if (p.in[1].constant && s.a_matrices != s.batch()) return Verdict::no("a is broadcast over a constant b");
    if (forms_.in != DType::f32 || forms_.out != DType::f32)
      for (const auto* list : {&p.in, &p.out})
        for (const Tensor& t : *list)
          if (!t.constant && t.shape.size() == 4) return Verdict::no("a value has rank 4, whose rows this form does not keep");
    return has_kernel(p);
  }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const MatmulSizes s(p);
    const bool constant = p.in[1].constant;
    const Geometry g = half_matrices(constant ? 1 : s.batch(), constant ? s.rows * s.batch() : s.rows, s.depth, s.columns);
    return half_estimate(g, forms_, HalfScheme::can_be_in_place(g, forms_), !constant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const MatmulShape s(p);
    const bool constant = p.in[1].constant;
    // One constant b for all: the matrices of a, one behind the other, are the rows of a single product.
    const Geometry g = constant ? half_matrices(1, s.rows * s.batch(), s.depth, s.columns)
                                : half_matrices(s.batch(), s.rows, s.depth, s.columns);
    const bool in_place = HalfScheme::can_be_in_place(g, forms_);
    HalfProblem problem{g, forms_, {}, {}, nullptr, *epilogue_activation(p), p.epilogue.add, p.threads};
    if (constant) problem.weights = {c[1], 0, 1, s.columns, {0}, "/matmul"};
    else problem.batch = {s.a_index, s.b_index, s.b_matrices};
    return half_convolution(problem, {in_place, false, !in_place && g.images == 1}, half_kernel(forms_.part, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { collect_half<MatmulHalf>(c, false); }
}  // namespace PW_COLLECT
}  // namespace pw
