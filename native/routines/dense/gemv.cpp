// dense/gemv: few rows of x against the weights as they lie, in f32 or copied to 16 bits: the memory's bandwidth decides.
#include "products/gemv.h"

#include "routines/dense/dense.h"

namespace pw {
namespace {

template <class W, class X>
class Gemv : public Routine, public Estimating {
 public:
  Gemv()
      : Routine({.id = gemv_id<W, X>("dense/gemv", Layout::plain),
                 .version = 2,
                 .accuracy = std::is_same_v<W, float> ? Accuracy::strict : Accuracy::reduced,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, PW_KIND_ACTIVATION_F32); !v) return v;
    if (DenseShape(p).rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) +
                         " rows, and each would read all weights again");
    if (kStored<X> != DType::f32 && p.in[0].shape.size() == 4)
      return Verdict::no("x has rank 4, whose rows are not whole in every layout");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(gemv_kind<W, X>()); }
  Ports ports(const Problem& p) const override { return preferred(uniform_ports(p, Layout::nchw, kStored<X>)); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const DenseShape s(p);
    return gemv_estimate(static_cast<double>(s.rows), static_cast<double>(s.depth), static_cast<double>(s.columns), sizeof(W));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<GemvKernel<W, X>>(
        GemvProblem{s.rows, s.depth, s.columns, c[1], bias_of(p, c), *epilogue_activation(p), p.epilogue.add, p.threads},
        variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Gemv<float, float>>();
  for_each_half([&](auto half) {
    c.add<Gemv<decltype(half), float>>();
    c.add<Gemv<decltype(half), decltype(half)>>();
  });
}
}  // namespace PW_COLLECT
}  // namespace pw
