// matmul_nbits/by_rows: the kernel of matmul_nbits/rows for a few rows, that of matmul_nbits/gemm for more: which one is said
// by the rows of each run, so that a model with an open number of them has both.
#include <optional>

#include "routines/matmul_nbits/gemm.h"
#include "routines/matmul_nbits/rows.h"

namespace pw {
namespace {

constexpr int64_t kFew = 4;  // rows: each of them unpacks all weights, at a fraction of the price of the other kernel

class NBitsByRowsKernel : public Kernel {
 public:
  NBitsByRowsKernel(const Problem& p, const Constants& constants, const NBits& few, const GemmF32& many)
      : x_(p, constants, Layout::nchw), depth_(p.integer("depth")), many_(p, constants, many) {
    if (!takes_blocks(few, p)) return;
    few_.emplace(p, constants, few);
    few_->at_most(kFew);
  }
  int64_t phases() const override { return 2; }
  bool open(size_t port, size_t axis) const override { return many_.open(port, axis); }
  size_t workspace_bytes() const override { return std::max(few_ ? few_->workspace_bytes() : 0, many_.workspace_bytes()); }
  int run(const Context& c) noexcept override {
    if (few_ && x_.in(0, c).count() / depth_ <= kFew) return few_->run(c);
    return c.team.phase == 0 ? 0 : many_.run(c);
  }

 private:
  RunOperands x_;
  int64_t depth_;
  std::optional<NBitsKernel> few_;
  NBitsGemmKernel many_;
};

class NBitsByRows : public AnyRoutine {
 public:
  NBitsByRows() : AnyRoutine("matmul_nbits", "by_rows") { card_.version = 2; }
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return gemm_variants(Layout::plain); }
  // The guess for a problem whose number of rows may be an example of many.
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    ports.order = 0;
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<NBitsByRowsKernel>(p, constants, best_ukernel<NBits>(PW_KIND_NBITS), gemm_kernel(variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<NBitsByRows>(); }
}  // namespace PW_COLLECT
}  // namespace pw
