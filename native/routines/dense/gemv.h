// The kernel of dense/gemv and conv2/gemv: rows of x against weights where they lie.
#pragma once
#include "routines/matrix.h"
#include "ukernels/kinds/gemv_f32.h"

namespace pw {

// y = act(x @ w.T + bias + residual): x rows x depth, w columns x depth, both where they lie; nothing is packed.
struct GemvProblem {
  int64_t rows, depth, columns;
  const float *weights, *bias;  // the constants' own memory; bias may be null
  ActArgs act;
  bool add;
  int threads;
};

// Rows read the same piece of the weights one after another, the later ones from cache.
constexpr int64_t kMostGemvRows = 4;

class GemvKernel : public PieceKernel {
 public:
  GemvKernel(const GemvProblem& problem, const std::string& variant) : p_(problem) {
    kernel_ = &variant_ukernel<GemvF32>(PW_KIND_GEMV_F32, variant);
    activation_ = &best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32);
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = round_up(std::clamp<int64_t>(p_.columns / (8 * p_.threads), 1, 64), kernel_->rows);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = p_.add ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    team.each(p_.columns, grain_, [&](int64_t first, int64_t last) {
      for (int64_t row = 0; row < p_.rows; ++row) {
        float* to = y + row * p_.columns + first;
        const int64_t n = last - first;
        kernel_->run(p_.weights + first * p_.depth, p_.depth, x + row * p_.depth, p_.depth, n, to);
        if (p_.bias)
          for (int64_t i = 0; i < n; ++i) to[i] += p_.bias[first + i];
        if (residual)
          for (int64_t i = 0; i < n; ++i) to[i] += residual[row * p_.columns + first + i];
        activation_->run(&p_.act, to, to, n);
      }
    });
  }

 private:
  GemvProblem p_;
  const GemvF32* kernel_ = nullptr;
  const ActivationF32* activation_ = nullptr;
  int64_t grain_ = 1;
};

}  // namespace pw
