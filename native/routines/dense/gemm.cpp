// dense/gemm: weights packed into panels, multiplied by the rows of x where they lie.
#include "routines/dense/dense.h"

namespace pw {
namespace {

class DenseGemmKernel : public Kernel {
 public:
  DenseGemmKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : shape_(p), add_(p.epilogue.add), threads_(p.threads) {
    const GemmF32& kernel = gemm_kernel(variant);
    weights_ = pack_convolution(constants[1], 0, shape_.columns, shape_.depth, 1, kernel.columns);
    bias_ = pack_bias(dense_bias(p, constants), shape_.columns, kernel.columns);
    product_.kernel = &kernel;
    product_.b = weights_->as<float>();
    product_.bias = bias_.as<float>();
    product_.act = *epilogue_activation(p);
    product_.rows = shape_.rows;
    product_.columns = shape_.columns;
    product_.taps = 1;
    product_.depth = shape_.depth;
    product_.chunk = std::min<int64_t>(shape_.depth, 512);
    product_.c_row = shape_.columns;
    product_.c_group = 16;
    product_.blocking = block(product_.row_tiles(), product_.panels(), product_.chunk * kernel.columns * 4,
                              kernel.rows * shape_.depth * 4, p.threads);
    if (product_.row_tiles() == 1) {
      // One tile of rows: the blocks are runs of panels, read once, one after another.
      product_.chunk = shape_.depth;
      product_.blocking.panels = std::max<int64_t>(1, divide_up(product_.panels(), 8 * p.threads));
      product_.blocking.panel_blocks = divide_up(product_.panels(), product_.blocking.panels);
    }
  }
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * kArea); }
  size_t packed_bytes() const override { return weights_->bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto** pointers = reinterpret_cast<const float**>(static_cast<char*>(workspace) + team.index * kArea);
    walk(product_, static_cast<float*>(out[0]), add_ ? static_cast<const float*>(in[1]) : nullptr, pointers, team,
         [&](int64_t row, int64_t rows, const float** to) {
           for (int64_t i = 0; i < product_.kernel->rows; ++i) to[i] = x + (row + std::min(i, rows - 1)) * shape_.depth;
         });
  }

 private:
  static constexpr int64_t kArea = 256;  // bytes of row pointers per thread: up to 32 rows
  DenseShape shape_;
  bool add_;
  int64_t threads_;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  Product product_{};
};

class DenseGemm : public Routine {
 public:
  DenseGemm() {
    card_.id = "dense/gemm:f32:plain:cpu";
    card_.layer = "dense";
    card_.takes_epilogue = true;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (gemm_variants(Layout::plain).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return gemm_variants(Layout::plain); }
  Ports ports(const Problem& p) const override { return dense_ports(p); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DenseGemmKernel>(p, variant, c);
  }

 private:
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseGemm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
