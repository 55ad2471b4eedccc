// matmul_nbits/rows: for few rows of x. See rows.h.
#include "routines/matmul_nbits/rows.h"

namespace pw {
namespace {

class NBitsRows : public AnyRoutine {
 public:
  NBitsRows() : AnyRoutine("matmul_nbits", "rows") { card_.version = 2; }
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
    if (variants(p).empty()) return Verdict::no("blocks of " + std::to_string(p.in[1].shape[2]) + " bytes are no whole vectors");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (const auto& [name, kernel] : ukernels_of<NBits>(PW_KIND_NBITS, true))
      if (takes_blocks(*kernel, p)) names.push_back(name);
    return names;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<NBitsKernel>(p, constants, variant_ukernel<NBits>(PW_KIND_NBITS, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<NBitsRows>(); }
}  // namespace PW_COLLECT
}  // namespace pw
