// matmul_nbits/gemm: for many rows of x. See gemm.h.
#include "routines/matmul_nbits/gemm.h"

namespace pw {
namespace {

class NBitsGemm : public AnyRoutine {
 public:
  NBitsGemm() : AnyRoutine("matmul_nbits", "gemm") { card_.version = 2; }
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return gemm_variants(Layout::plain); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<NBitsGemmKernel>(p, constants, gemm_kernel(variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<NBitsGemm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
