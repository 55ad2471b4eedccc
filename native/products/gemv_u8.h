// The kernel of dense/gemv and conv2/gemv on u8: rows of x against rows of quantised weights.
#pragma once
#include <string>
#include <vector>

#include "products/gemv.h"
#include "ukernels/kinds/gemv_u8.h"
#include "values/quantised.h"

namespace pw {

inline std::vector<std::string> gemv_u8_variants(Act act) { return ukernel_names(PW_KIND_GEMV_U8, act); }

class GemvU8Kernel : public PieceKernel {
 public:
  // x: rows x depth, weights (input 1 of the problem): columns x depth, bias may be null.
  GemvU8Kernel(const Problem& p, const Constants& constants, int64_t rows, int64_t depth, int64_t columns,
               const float* bias, const std::string& variant)
      : rows_(rows), depth_(depth), columns_(columns), add_(p.epilogue.add), out_(requantise(p, constants)) {
    kernel_ = ukernel<GemvU8>(PW_KIND_GEMV_U8, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = std::min(kMostGrain, round_up(std::max<int64_t>(columns / (8 * p.threads), 1), kernel_->rows));
    pack(constants[1], bias, scale_in(constants, 0));
  }

  size_t packed_bytes() const override { return packed_->bytes() + factors_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const auto piece = Team::own_first(divide_up(columns_, grain_), index, count);
    if (!piece) return {};
    const int64_t first = *piece * grain_;
    return {packed_->as<char>() + first * depth_, static_cast<uint64_t>((columns_ - first) * depth_)};
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    const int32_t* start = factors_.as<int32_t>();
    const float *scale = factors_.as<float>() + columns_, *bias = scale + columns_;
    team.each(columns_, grain_, [&](int64_t first, int64_t last) {
      for (int64_t row = 0; row < rows_; ++row) {
        int32_t sums[kMostGrain];
        kernel_->run(packed_->as<int8_t>() + first * depth_, depth_, x + row * depth_, depth_, last - first,
                     start + first, sums);
        const int64_t at = row * columns_ + first;
        const RowEndU8Args end{sums, scale + first, bias + first, residual ? residual + at : nullptr, y + at,
                               last - first, out_};
        kernel_->finish(&end);
      }
    });
  }

 private:
  static constexpr int64_t kMostGrain = 64;

  // The weights as they lie, in bytes; behind them the scale and the sum of each row.
  void pack(const Constant& weights, const float* bias, Scale in) {
    const int64_t bytes = round_up(columns_ * depth_, 64);
    packed_ = shared_packing(weights.id, "gemv_u8/" + std::to_string(columns_), [&] {
      Buffer packed(static_cast<size_t>(bytes + columns_ * 8));
      float* scales = reinterpret_cast<float*>(packed.as<char>() + bytes);
      int32_t* sums = reinterpret_cast<int32_t*>(scales + columns_);
      parallel_for(columns_, [&](int64_t first, int64_t last) {
        for (int64_t c = first; c < last; ++c) {
          const float* w = weights.as<float>() + c * depth_;
          scales[c] = product_scale(depth_, [&](int64_t i) { return w[i]; });
          sums[c] = 0;
          for (int64_t i = 0; i < depth_; ++i) {
            const int32_t q = quantised_weight(w[i], scales[c]);
            packed.as<int8_t>()[c * depth_ + i] = static_cast<int8_t>(q);
            sums[c] += q;
          }
        }
      });
      return packed;
    });
    const float* scales = reinterpret_cast<const float*>(packed_->as<char>() + bytes);
    const int32_t* sums = reinterpret_cast<const int32_t*>(scales + columns_);
    factors_ = Buffer(static_cast<size_t>(columns_ * 12));
    for (int64_t c = 0; c < columns_; ++c) {
      factors_.as<int32_t>()[c] = -in.zero * sums[c];
      factors_.as<float>()[columns_ + c] = in.scale * scales[c];
      factors_.as<float>()[2 * columns_ + c] = bias ? bias[c] : 0.0f;
    }
  }

  int64_t rows_, depth_, columns_;
  bool add_;
  RequantU8 out_;
  const GemvU8* kernel_ = nullptr;
  int64_t grain_;
  std::shared_ptr<const Buffer> packed_;
  Buffer factors_;  // start, scale, bias
};

}  // namespace pw
