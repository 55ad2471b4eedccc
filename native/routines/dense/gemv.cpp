// dense/gemv: few rows of x against the weights where they lie; nothing is packed, the memory's bandwidth decides.
#include "routines/dense/gemv.h"

#include "routines/dense/dense.h"

namespace pw {
namespace {

class Gemv : public Routine {
 public:
  Gemv() {
    card_.id = "dense/gemv:f32:plain:cpu";
    card_.layer = "dense";
    card_.takes_epilogue = true;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (DenseShape(p).rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) +
                         " rows, and each would read all weights again");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return gemv_variants(); }
  Ports ports(const Problem& p) const override { return dense_ports(p); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<GemvKernel>(
        GemvProblem{s.rows, s.depth, s.columns, c[1].as<float>(), dense_bias(p, c), *epilogue_activation(p),
                    p.epilogue.add, p.threads},
        variant);
  }

 private:
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Gemv>(); }
}  // namespace PW_COLLECT
}  // namespace pw
