// dense/sparse_blocks: weights that are zero in whole blocks of 16 outputs.
#include "products/blocks.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

class DenseBlocksKernel : public Kernel {
 public:
  DenseBlocksKernel(const BlocksProblem& p, bool add, const std::string& variant) : add_(add), product_(p, variant) {}
  size_t packed_bytes() const override { return product_.bytes(); }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    product_.run(static_cast<const float*>(in[0]), static_cast<float*>(out[0]),
                 add_ ? static_cast<const float*>(in[1]) : nullptr, team);
  }

 private:
  bool add_;
  BlocksProduct product_;
};

class DenseBlocks : public Routine {
 public:
  DenseBlocks() : Routine({.id = "dense/sparse_blocks:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, PW_KIND_GEMM_INDEXED_F32); !v) return v;
    if (Verdict v = accepts_zero_blocks(p); !v) return v;
    if (block_variants(epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return block_variants(epilogue_act(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const DenseShape s(p);
    BlocksProblem b{s.columns, s.depth, 1, c[1], bias_of(p, c), *epilogue_activation(p), p.threads, 1, 0,
                    {}, [](int64_t, int64_t k) { return static_cast<int32_t>(k); }, "dense"};
    for (int64_t row = 0; row < s.rows; ++row) b.rows.push_back(row * s.depth);
    return std::make_unique<DenseBlocksKernel>(b, p.epilogue.add, variant);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseBlocks>(); }
}  // namespace PW_COLLECT
}  // namespace pw
