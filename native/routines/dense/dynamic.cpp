// dense/dynamic_gemm, dense/dynamic_gemv: products of 8 bits between f32 values; every row of x finds its own scale.
#include "products/dynamic_u8.h"
#include "products/gemv.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

class Dynamic : public Routine, public Estimating {
 public:
  explicit Dynamic(bool few)
      : Routine({.id = few ? "dense/dynamic_gemv:qint8:plain:cpu" : "dense/dynamic_gemm:qint8:plain:cpu",
                 .accuracy = Accuracy::quantised, .takes_epilogue = true}),
        few_(few) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, PW_KIND_DYNAMIC_U8); !v) return v;
    const DenseShape s(p);
    if (few_ && s.rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) +
                         " rows, and each would read all weights again");
    return accepts_dynamic(p, s.depth);
  }
  std::vector<std::string> variants(const Problem&) const override {
    return few_ ? dynamic_gemv_variants() : dynamic_gemm_variants();
  }
  Ports ports(const Problem& p) const override {
    Ports ports = preferred(uniform_ports(p, Layout::nchw));
    if (few_) --ports.order;  // before products of few rows in f32
    return ports;
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const DenseShape s(p);
    return dynamic_estimate(s.rows, s.depth, s.columns, variant, few_);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    const DynamicProblem problem(p, c, s.depth, s.columns, p.in[0].shape.size() - 1);
    return few_ ? dynamic_gemv(problem, variant) : dynamic_gemm(problem, variant);
  }

 private:
  bool few_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Dynamic>(true);
  c.add<Dynamic>(false);
}
}  // namespace PW_COLLECT
}  // namespace pw
