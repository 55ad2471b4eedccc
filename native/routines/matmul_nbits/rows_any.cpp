// matmul_nbits/rows: for few rows of x. See rows.h.
#include "routines/matmul_nbits/rows.h"

namespace pw {
namespace {

class NBitsRows : public AnyRoutine {
 public:
  NBitsRows() : AnyRoutine("matmul_nbits", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_NBITS); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    auto kernel = std::make_unique<NBitsKernel>(p, constants, variant_ukernel<NBits>(PW_KIND_NBITS, variant));
    kernel->ranks(p.dynamic().size(), static_cast<int>(p.in[0].shape.size()));
    return kernel;
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<NBitsRows>(); }
}  // namespace PW_COLLECT
}  // namespace pw
