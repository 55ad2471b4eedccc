// Activations as micro-kernels see them.
#pragma once
#include <cstdint>

#include "ukernels/kinds/half.h"

namespace pw {

// Code of an activation. The build gives one to each file of ukernels/activations/, the same in all micro-kernels; a
// micro-kernel's table says which of them it computes. The two that have a name here many apply to what they store as it lies
// in registers; the others they apply to stored rows. `clip` covers relu and no activation at all.
// (Their codes differ in one bit, so that "one of the two" is one test.)
enum class Act : int32_t { clip = 0, hard_swish = 4 };

// y = act(x). a and b: the activation's parameters; of clip the bounds (-inf, inf = nothing).
struct ActArgs {
  Act act;
  float a, b;
};
constexpr ActArgs kNoActivation{Act::clip, -__builtin_inff(), __builtin_inff()};

// For which a something is computed.
enum class Where : int32_t { any, zero, not_zero, positive };

// A layer kind that a file of ukernels/activations/ computes.
struct ActivationKind {
  const char* kind = nullptr;
  const char* parameters[2] = {};  // attributes of the layer kind that become a and b, in this order
  float a = 0, b = 0;              // where no attribute does
  Where where = Where::any;
  // It has steps, or soon leaves the range of f16: values of 16 bits, rounded before it, would be far off behind it.
  bool f32_only = false;
};

// What a micro-kernel's table says that it computes: a list of these, ended by one without kinds.
struct ActivationEntry {
  Act act;
  const ActivationKind* kinds;  // ended by one without a name
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
