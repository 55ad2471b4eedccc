// dense/strassen: many rows of x with seven eighths of the multiplications, once or twice over.
#include "products/strassen.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

class DenseStrassen : public Routine, public Estimating {
 public:
  DenseStrassen() : Routine({.id = "dense/strassen:f32:plain:cpu", .version = 2, .accuracy = Accuracy::f32, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    const DenseShape s(p);
    return accepts_strassen(p, s.rows, s.depth, s.columns);
  }
  std::vector<std::string> variants(const Problem& p) const override {
    const DenseShape s(p);
    return strassen_variants(s.rows, s.depth, s.columns, epilogue_act(p));
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const DenseShape s(p);
    return strassen_estimate(p, s.rows, s.depth, s.columns, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<StrassenKernel>(
        StrassenProblem{s.rows, s.depth, s.columns, 1, s.depth, c[1], bias_of(p, c),
                        *epilogue_activation(p), p.threads},
        variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseStrassen>(); }
}  // namespace PW_COLLECT
}  // namespace pw
