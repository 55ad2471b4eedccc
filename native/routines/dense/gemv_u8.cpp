// dense/gemv on u8: few rows of x against weights of one byte; the memory's bandwidth decides.
#include "products/estimates_u8.h"
#include "products/gemv_u8.h"

#include "routines/dense/dense_u8.h"

namespace pw {
namespace {

class GemvU8Routine : public Routine, public Estimating {
 public:
  GemvU8Routine() : Routine({.id = "dense/gemv:u8:plain:cpu", .version = 2, .accuracy = Accuracy::quantised,
                               .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense_u8(p, PW_KIND_GEMV_U8); !v) return v;
    if (DenseShape(p).rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) +
                         " rows, and each would read all weights again");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemv_u8_variants(epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nchw, DType::u8); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const DenseShape s(p);
    return gemv_u8_estimate(s.rows, s.depth, s.columns, end_of(epilogue_act(p)));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<GemvU8Kernel>(p, c, s.rows, s.depth, s.columns, bias_of(p, c), variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<GemvU8Routine>(); }
}  // namespace PW_COLLECT
}  // namespace pw
