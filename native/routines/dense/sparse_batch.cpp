// dense/sparse_batch: many rows of x are what pixels are to conv2/sparse; x is turned so that they lie side by side.
#include "products/sparse.h"
#include "routines/dense/dense.h"
#include "ukernels/kinds/transpose_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

class SparseBatchKernel : public Kernel {
 public:
  SparseBatchKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : s_(p), kernel_(spmm_kernel(variant)), transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)),
        // An odd number of cache lines: rows do not meet in the same sets.
        row_((divide_up(std::max<int64_t>(s_.rows, kernel_.lanes), 16) | 1) * 16), tiles_(1, s_.rows, 0, 0, kernel_),
        bias_(pack_bias(bias_of(p, constants), s_.columns, 1)) {
    weights_ = SparseRows(constants[1], s_.columns, s_.depth, "dense/" + std::to_string(row_),
                          [this](int64_t, int64_t k) { return static_cast<int32_t>(k * row_); });
    product_ = {&kernel_, &weights_, &tiles_, bias_.as<float>(), *epilogue_activation(p), s_.columns, row_, 1, 0, 0};
    product_.parts = std::min(s_.columns, divide_up(p.threads == 1 ? 1 : 8 * p.threads, tiles_.tiles()));
  }

  size_t workspace_bytes() const override { return static_cast<size_t>((s_.depth + s_.columns) * row_) * 4; }
  size_t packed_bytes() const override { return weights_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* turned = static_cast<float*>(workspace);
    float *results = turned + s_.depth * row_, *y = static_cast<float*>(out[0]);
    team.each(s_.depth, 64, [&](int64_t first, int64_t last) {
      transpose_.run(x + first, s_.depth, turned + first * row_, row_, s_.rows, last - first);
      // What a vector reads behind the last row is multiplied, and not kept.
      for (int64_t k = first; k < last; ++k)
        for (int64_t i = s_.rows; i < row_; ++i) turned[k * row_ + i] = 0.0f;
    });
    team.barrier();
    team.each(product_.pieces(), 1, [&](int64_t i, int64_t) { product_.walk(i, turned, results, nullptr); });
    team.barrier();
    team.each(s_.columns, 64, [&](int64_t first, int64_t last) {
      transpose_.run(results + first * row_, row_, y + first, s_.columns, last - first, s_.rows);
    });
  }

 private:
  DenseShape s_;
  const SpmmF32& kernel_;
  const TransposeF32& transpose_;
  int64_t row_;  // floats from one input or output to the next
  PixelTiles tiles_;
  Buffer bias_;
  SparseRows weights_;
  SparseProduct product_{};
};

class DenseSparseBatch : public Routine {
 public:
  DenseSparseBatch() : Routine({.id = "dense/sparse_batch:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, PW_KIND_SPMM_F32); !v) return v;
    if (Verdict v = accepts_zeros(p); !v) return v;
    if (p.epilogue.add) return Verdict::no("a residual does not lie as the results do before they are turned");
    const DenseShape s(p);
    if (s.rows < 2) return Verdict::no("x has one row");
    if (s.depth * (s.rows + 48) > INT32_MAX) return Verdict::no("x has more than 2^31 elements");
    if (spmm_variants(epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return spmm_variants(epilogue_act(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<SparseBatchKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseSparseBatch>(); }
}  // namespace PW_COLLECT
}  // namespace pw
