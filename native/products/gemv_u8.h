// The kernel of dense/gemv and conv2/gemv on u8: rows of x against rows of quantised weights.
#pragma once
#include <string>
#include <vector>

#include "products/gemv.h"
#include "ukernels/kinds/gemv_u8.h"
#include "values/quantised.h"

namespace pw {

inline std::vector<std::string> gemv_u8_variants(Act act) { return ukernel_names(PW_KIND_GEMV_U8, act); }

// Weights [columns, depth] as they lie, in bytes, with start, scale and bias of each column.
class GemvWeightsU8 {
 public:
  GemvWeightsU8(const Constant& weights, const float* bias, int64_t depth, int64_t columns, Scale in);

  const int8_t* row(int64_t column) const { return packed_->as<int8_t>() + column * depth_; }
  const int32_t* start() const { return factors_.as<int32_t>(); }
  const float* scale() const { return factors_.as<float>() + columns_; }
  const float* bias() const { return factors_.as<float>() + 2 * columns_; }
  size_t bytes() const { return packed_->bytes() + factors_.bytes(); }
  // The rows from one on.
  Memory from(int64_t column) const { return {row(column), static_cast<uint64_t>((columns_ - column) * depth_)}; }

 private:
  int64_t depth_, columns_;
  std::shared_ptr<const Buffer> packed_;  // the bytes; behind them the scale and the sum of each row
  Buffer factors_;                        // start, scale, bias
};

class GemvU8Kernel : public PieceKernel {
 public:
  // x: rows x depth, weights (input 1 of the problem): columns x depth, bias may be null.
  GemvU8Kernel(const Problem& p, const Constants& constants, int64_t rows, int64_t depth, int64_t columns,
               const float* bias, const std::string& variant)
      : rows_(rows), depth_(depth), columns_(columns), add_(p.epilogue.add), out_(requantise(p, constants)),
        weights_(constants[1], bias, depth, columns, scale_in(constants, 0)) {
    kernel_ = ukernel<GemvU8>(PW_KIND_GEMV_U8, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = std::min(kMostGrain, round_up(std::max<int64_t>(columns / (8 * p.threads), 1), kernel_->rows));
  }

  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const auto piece = Team::own_first(divide_up(columns_, grain_), index, count);
    if (!piece) return {};
    return weights_.from(*piece * grain_);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    team.each(columns_, grain_, [&](int64_t first, int64_t last) {
      for (int64_t row = 0; row < rows_; ++row) {
        int32_t sums[kMostGrain];
        kernel_->run(weights_.row(first), depth_, x + row * depth_, depth_, last - first, weights_.start() + first, sums);
        const int64_t at = row * columns_ + first;
        const RowEndU8Args end{sums, weights_.scale() + first, weights_.bias() + first, residual ? residual + at : nullptr, y + at,
                               last - first, out_};
        kernel_->finish(&end);
      }
    });
  }

 private:
  static constexpr int64_t kMostGrain = 64;

  int64_t rows_, depth_, columns_;
  bool add_;
  RequantU8 out_;
  const GemvU8* kernel_ = nullptr;
  int64_t grain_;
  GemvWeightsU8 weights_;
};

}  // namespace pw
