// dense/gemm on u8: weights quantised and packed into panels, multiplied by the rows of x where they lie.
#include "products/estimates_u8.h"
#include "products/rows_u8.h"
#include "routines/dense/dense_u8.h"

namespace pw {
namespace {

class DenseGemmU8 : public Routine, public Estimating {
 public:
  DenseGemmU8()
      : Routine({.id = "dense/gemm:u8:plain:cpu", .version = 3, .accuracy = Accuracy::quantised,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override { return accepts_dense_u8(p, PW_KIND_GEMM_U8); }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_u8_variants(epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nchw, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const DenseShape s(p);
    return product_u8_estimate({.rows = s.rows, .depth = s.depth, .columns = s.columns, .end = end_of(epilogue_act(p))}, variant);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    return std::make_unique<RowsU8Kernel>(p, c, s.rows, s.depth, s.columns, bias_of(p, c), gemm_u8_kernel(variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseGemmU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
