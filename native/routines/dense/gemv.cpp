// dense/gemv: few rows of x against the weights where they lie; nothing is packed, the memory's bandwidth decides.
#include "routines/dense/gemv.h"

#include "routines/dense/dense.h"

namespace pw {
namespace {

class Gemv : public Routine {
 public:
  Gemv() : Routine({.id = "dense/gemv:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (DenseShape(p).rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) +
                         " rows, and each would read all weights again");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override {
    return ukernel_names(PW_KIND_GEMV_F32);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<GemvKernel>(
        GemvProblem{s.rows, s.depth, s.columns, c[1].as<float>(), bias_of(p, c), *epilogue_activation(p),
                    p.epilogue.add, p.threads},
        variant);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Gemv>(); }
}  // namespace PW_COLLECT
}  // namespace pw
