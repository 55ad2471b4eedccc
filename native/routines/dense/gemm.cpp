// dense/gemm: weights packed into panels, multiplied by the rows of x where they lie.
#include "products/estimates.h"
#include "products/rows.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

// Rows of the packed weights per pass at most: as many floats of a tile of rows stay in L1.
constexpr int64_t kChunk = 512;

class DenseGemm : public Routine, public Estimating {
 public:
  DenseGemm() : Routine({.id = "dense/gemm:f32:plain:cpu", .version = 2, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (gemm_variants(Layout::plain, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::plain, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const DenseShape s(p);
    return product_estimate({.rows = static_cast<double>(s.rows), .depth = static_cast<double>(s.depth),
                             .columns = static_cast<double>(s.columns)}, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<RowsKernel>(RowsProblem{s.rows, s.depth, s.columns, c[1], bias_of(p, c),
                                                    *epilogue_activation(p), p.epilogue.add, p.threads, kChunk,
                                                    RowAxes::of(p.in[0].shape, p.in[0].shape.size() - 1)},
                                        gemm_kernel(variant));
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseGemm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
