// Activations as micro-kernels see them.
#pragma once
#include <cstdint>

namespace pw {

// `clip` covers relu and no activation at all: every matrix kernel clamps, the others are applied to stored rows.
enum class Act : int32_t {
  clip, leaky_relu, sigmoid, hard_sigmoid, hard_swish, silu, gelu_erf, gelu_tanh, tanh, elu, softplus, mish,
  exp, log, sqrt, reciprocal, neg, abs, floor, ceil, round, sign, erf, softsign, selu, celu, thresholded_relu
};

// y = act(x). clip: min a, max b (-inf, inf = nothing). leaky_relu, elu, celu, thresholded_relu: a = alpha.
// hard_sigmoid: max(0, min(1, a*x + b)). selu: a = alpha, b = gamma.
struct ActArgs {
  Act act;
  float a, b;
};

// In-place or out-of-place over n contiguous floats.
struct ActivationF32 {
  void (*run)(const ActArgs* args, const float* x, float* y, int64_t n);
};
#define PW_KIND_ACTIVATION_F32 "activation_f32"

}  // namespace pw
