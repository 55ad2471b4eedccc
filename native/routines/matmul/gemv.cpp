// matmul/gemv: b is one column; dot products with the rows of a where they lie, bound by the memory's bandwidth.
#include "products/matrix.h"
#include "routines/matmul/matmul.h"
#include "spi/estimate.h"
#include "ukernels/kinds/gemv_f32.h"
#include "values/operands.h"

namespace pw {
namespace {

class MatmulGemvKernel : public PieceKernel {
 public:
  MatmulGemvKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : shape_(p), operands_(p, constants), residual_(p.residual()), act_(*epilogue_activation(p)) {
    kernel_ = &variant_ukernel<GemvF32>(PW_KIND_GEMV_F32, variant);
    activation_ = &best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, act_.act);
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = std::clamp<int64_t>(shape_.rows * shape_.batch() / (8 * p.threads), 1, 64);
    grain_ = round_up(grain_, kernel_->rows);
    pieces_ = divide_up(shape_.rows, grain_);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* a = operands_.get<float>(0, in);
    const auto* b = operands_.get<float>(1, in);
    const auto* residual = operands_.get<float>(residual_, in);
    auto* y = static_cast<float*>(out[0]);
    team.each(shape_.batch() * pieces_, 1, [&](int64_t index, int64_t) {
      const auto n = static_cast<size_t>(index / pieces_);
      const int64_t row = index % pieces_ * grain_, rows = std::min(grain_, shape_.rows - row);
      const int64_t at = index / pieces_ * shape_.rows + row;
      kernel_->run(a + (shape_.a_index[n] * shape_.rows + row) * shape_.depth, shape_.depth,
                   b + shape_.b_index[n] * shape_.depth, shape_.depth, rows, y + at);
      if (residual)
        for (int64_t i = 0; i < rows; ++i) y[at + i] += residual[at + i];
      activation_->run(&act_, y + at, y + at, rows);
    });
  }

 private:
  MatmulShape shape_;
  Operands operands_;
  int residual_;
  ActArgs act_;
  const GemvF32* kernel_ = nullptr;
  const ActivationF32* activation_ = nullptr;
  int64_t grain_ = 1, pieces_ = 1;
};

class MatmulGemv : public Routine, public Estimating {
 public:
  MatmulGemv() : Routine({.id = "matmul/gemv:f32:plain:cpu", .version = 2, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p, PW_KIND_ACTIVATION_F32); !v) return v;
    if (MatmulSizes(p).columns != 1) return Verdict::no("b has more than one column");
    if (variants(p).empty() || ukernels_of<ActivationF32>(PW_KIND_ACTIVATION_F32, true).empty())
      return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_GEMV_F32); }
  Ports ports(const Problem& p) const override { return preferred(uniform_ports(p, Layout::nchw)); }
  Estimate estimate(const Problem&, const std::string&) const override {
    Estimate e;
    e.share = 0.25;  // every product is loaded
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<MatmulGemvKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<MatmulGemv>(); }
}  // namespace PW_COLLECT
}  // namespace pw
