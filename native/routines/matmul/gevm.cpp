// matmul/gevm: a is one row; rows of b where they lie are added up, nothing is packed, the memory's bandwidth decides.
#include <cstring>

#include "routines/matmul/matmul.h"
#include "spi/estimate.h"
#include "ukernels/kinds/gevm_f32.h"
#include "values/operands.h"

namespace pw {
namespace {

// Columns of a piece of work: y stays in L1, rows are long enough to stream. Rows of b per pass: each pass is summed for
// itself, so that the rounding error of long sums grows with their root, not with their length.
constexpr int64_t kColumns = 2048, kPass = 512;

class GevmKernel : public PieceKernel {
 public:
  GevmKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : operands_(p, constants),
        a_shape_(p.in[0].shape),
        b_shape_(p.in[1].shape),
        constant_(p.in[0].constant || p.in[1].constant),
        threads_(p.threads),
        residual_(p.residual()),
        act_(*epilogue_activation(p)),
        kernel_(variant_ukernel<GevmF32>(PW_KIND_GEVM_F32, variant)),
        activation_(best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, act_.act)) {}

  // All sizes but those of constants: the row of a is one whatever the sizes are, as none is larger than that of the problem.
  bool open(size_t, size_t) const override { return !constant_; }

  int run(const Context& c) noexcept override {
    const MatmulRun shape(operands_.sizes(0, c.in_sizes, a_shape_), a_shape_.size(),
                          operands_.sizes(1, c.in_sizes, b_shape_), b_shape_.size());
    const auto* a = operands_.get<float>(0, c.in);
    const auto* b = operands_.get<float>(1, c.in);
    const auto* residual = operands_.get<float>(residual_, c.in);
    auto* y = static_cast<float*>(c.out[0]);
    // Whole cache lines, long runs, a piece or two a thread. Columns are summed one by one: the cut changes no result.
    const int64_t rows = shape.batch * shape.rows, even = divide_up(shape.columns * rows, (threads_ == 1 ? 1 : 2) * threads_);
    const int64_t width = std::clamp<int64_t>(round_up(even, 16), 64, kColumns), pieces = divide_up(shape.columns, width);
    c.team.each(rows * pieces, 1, [&](int64_t index, int64_t) {
      const int64_t row = index / pieces, first = index % pieces * width, count = std::min(width, shape.columns - first);
      const auto [of_a, of_b] = shape.batch == 1 ? std::pair(row, int64_t{0}) : shape.operands(row);
      const int64_t at = row * shape.columns + first;
      one_piece(a + of_a * shape.depth, b + of_b * shape.depth * shape.columns + first, shape, count,
                residual ? residual + at : nullptr, y + at);
    });
    return 0;
  }

 private:
  void one_piece(const float* a, const float* b, const MatmulRun& shape, int64_t columns, const float* residual,
                 float* y) const noexcept {
    float sum[kColumns], pass[kColumns];
    const size_t bytes = static_cast<size_t>(columns) * 4;
    std::memset(sum, 0, bytes);
    for (int64_t k = 0; k < shape.depth; k += kPass) {
      float* to = k == 0 ? sum : pass;
      if (k > 0) std::memset(pass, 0, bytes);
      kernel_.run(a + k, b + k * shape.columns, shape.columns, std::min(kPass, shape.depth - k), columns, to);
      if (k > 0)
        for (int64_t j = 0; j < columns; ++j) sum[j] += pass[j];
    }
    if (residual)
      for (int64_t j = 0; j < columns; ++j) sum[j] += residual[j];
    activation_.run(&act_, sum, y, columns);
  }

  Operands operands_;
  Dims a_shape_, b_shape_;
  bool constant_;
  int threads_;
  int residual_;
  ActArgs act_;
  const GevmF32& kernel_;
  const ActivationF32& activation_;
};

class Gevm : public Routine, public Estimating {
 public:
  Gevm() : Routine({.id = "matmul/gevm:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p, PW_KIND_ACTIVATION_F32); !v) return v;
    if (MatmulSizes(p).rows != 1) return Verdict::no("a has more than one row");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_GEVM_F32); }
  Ports ports(const Problem& p) const override { return preferred(uniform_ports(p, Layout::nchw)); }
  Estimate estimate(const Problem&, const std::string&) const override {
    Estimate e;
    e.share = 0.25;  // every product is loaded
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<GevmKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Gevm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
