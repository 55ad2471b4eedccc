// The kernel of matmul_nbits/rows: rows of weights of 4 or 8 bits as they lie, against all rows of x while they are in the
// first cache. Sums of a block are in float32, one per lane of a vector, as are those of the scaled blocks.
#pragma once
#include "routines/matmul_nbits/weights.h"

namespace pw {

class NBitsKernel : public Kernel {
 public:
  NBitsKernel(const Problem& p, const Constants& constants, const NBits& kernel)
      : weights_(p, constants), kernel_(kernel), run_(weights_.four ? kernel.run4 : kernel.run8) {
    spread_ = kernel.spread_floats(weights_.blocks * weights_.words(), weights_.four);
    rows_ = p.in[0].count() / weights_.depth;
  }
  int64_t phases() const override { return 2; }
  bool open(size_t port, size_t axis) const override { return weights_.open(port, axis); }
  size_t workspace_bytes() const override { return static_cast<size_t>(round_up(rows_ * spread_ * 4, 64)); }
  int run(const Context& c) noexcept override {
    const Operand x = weights_.operands.in(0, c);
    const int64_t depth = weights_.depth, rows = x.count() / depth, outputs = weights_.outputs;
    auto* own = static_cast<float*>(c.workspace);
    if (c.team.phase == 0) {
      c.team.each(rows, 1, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r)
          kernel_.spread(x.as<float>() + r * depth, depth, weights_.blocks * weights_.words(), weights_.four, own + r * spread_);
      });
      return 0;
    }
    const NBitsWeights weights = weights_.of(c);
    const float* bias = weights_.bias(c);
    auto* y = static_cast<float*>(c.out[0]);
    // Pieces that are long enough to stream, and enough of them to even out the threads.
    const int64_t grain = std::clamp<int64_t>(round_up(outputs / (8 * c.team.count), 4), 4, kMostGrain);
    c.team.each(outputs, grain, [&](int64_t first, int64_t last) {
      for (int64_t r = 0; r < rows; ++r) {
        float* to = y + r * outputs + first;
        const NBitsArgs args{weights, own + r * spread_, to, first, last - first};
        run_(&args);
        if (bias)
          for (int64_t n = first; n < last; ++n) to[n - first] += bias[n];
      }
    });
    return 0;
  }

  // No run has more rows, so that the workspace may be smaller.
  void at_most(int64_t rows) { rows_ = std::min(rows_, rows); }

 private:
  static constexpr int64_t kMostGrain = 64;

  NBitsOperands weights_;
  const NBits& kernel_;
  void (*run_)(const NBitsArgs*);
  int64_t spread_ = 0, rows_ = 0;
};

}  // namespace pw
