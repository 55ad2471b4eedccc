// Activations as micro-kernels see them.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

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

// In-place or out-of-place over n contiguous elements, computed in f32; T: how they lie in memory.
template <class T>
struct ActivationOf {
  void (*run)(const ActArgs* args, const T* x, T* y, int64_t n);
};
using ActivationF32 = ActivationOf<float>;
#define PW_KIND_ACTIVATION "activation_"  // and the form of the values
#define PW_KIND_ACTIVATION_F32 PW_KIND_ACTIVATION "f32"

}  // namespace pw
