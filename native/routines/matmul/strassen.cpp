// matmul/strassen: one large product with seven eighths of the multiplications, once or twice over.
#include "products/strassen.h"
#include "routines/matmul/matmul.h"
#include "values/operands.h"

namespace pw {
namespace {

// Several matrices of a with one b are the rows of a single product.
int64_t all_rows(const MatmulSizes& s) { return s.rows * s.batch(); }

class MatmulStrassenKernel : public Kernel {
 public:
  MatmulStrassenKernel(const StrassenProblem& p, const std::string& variant, const Operands& operands)
      : operands_(operands), product_(p, variant) {}
  size_t workspace_bytes() const override { return product_.workspace_bytes(); }
  size_t packed_bytes() const override { return product_.packed_bytes(); }
  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    product_.run(operands_.get<float>(0, in), operands_.get<float>(1, in), static_cast<float*>(out[0]), workspace, team);
  }

 private:
  Operands operands_;
  StrassenProduct product_;
};

class MatmulStrassen : public Routine, public Estimating {
 public:
  MatmulStrassen() : Routine({.id = "matmul/strassen:f32:plain:cpu", .version = 2, .accuracy = Accuracy::f32, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p); !v) return v;
    const MatmulSizes s(p);
    if (s.b_matrices != 1 || s.a_matrices != s.batch()) return Verdict::no("it is more than one product");
    return accepts_strassen(p, all_rows(s), s.depth, s.columns);
  }
  std::vector<std::string> variants(const Problem& p) const override {
    const MatmulSizes s(p);
    return strassen_variants(all_rows(s), s.depth, s.columns, epilogue_act(p));
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nchw); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const MatmulSizes s(p);
    return strassen_estimate(p, all_rows(s), s.depth, s.columns, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const MatmulSizes s(p);
    return std::make_unique<MatmulStrassenKernel>(
        StrassenProblem{all_rows(s), s.depth, s.columns, s.columns, 1, c[1], nullptr, *epilogue_activation(p), p.threads},
        variant, Operands(p, c));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<MatmulStrassen>(); }
}  // namespace PW_COLLECT
}  // namespace pw
