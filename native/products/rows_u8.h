// The kernel of conv2/pointwise and dense/gemm on u8: rows of x, contiguous where they lie, times packed weights.
#pragma once
#include "products/matrix_u8.h"

namespace pw {

class RowsU8Kernel : public PieceKernel {
 public:
  // x: rows x depth, weights (input 1 of the problem): columns x depth, bias may be null.
  RowsU8Kernel(const Problem& p, const Constants& constants, int64_t rows, int64_t depth, int64_t columns,
               const float* bias, const GemmU8& kernel)
      : add_(p.epilogue.add), threads_(p.threads),
        product_(kernel, rows, columns, 1, depth, columns, requantise(p, constants), true, p.threads),
        weights_(constants[1], bias, 0, columns, depth, 1, product_, scale_in(constants, 0)) {
    product_.out.saturates = saturates(product_.out, weights_.most());
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * product_.area()); }
  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    return weights_.from(product_.blocking.first_panel(index, count));
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    char* area = static_cast<char*>(workspace) + team.index * product_.area();
    team.each(product_.blocking.count(), 1, [&](int64_t index, int64_t) {
      walk_block(product_, weights_, index, static_cast<uint8_t*>(out[0]),
                 add_ ? static_cast<const uint8_t*>(in[1]) : nullptr, area,
                 [&](int64_t row, int64_t rows, const void** to, char* scratch) {
                   fill_rows(product_, x, row, rows, to, scratch);
                 });
    });
  }

 private:
  bool add_;
  int64_t threads_;
  ProductU8 product_;
  WeightsU8 weights_;
};

}  // namespace pw
