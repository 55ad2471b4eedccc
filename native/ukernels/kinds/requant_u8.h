// How a sum becomes a quantised output: the end of every u8 kernel. Real value = scale * (q - zero), 0 <= q <= 255.
#pragma once
#include <cstdint>

#include "ukernels/kinds/activation.h"

namespace pw {

// q = rint(clamp(act(y) * inverse, low, high)) + zero, where
//   y is the real value in float32,
//   inverse = 1.0f / scale of the output, rounded to float32,
//   low = -zero, high = 255 - zero, and for `clip` these narrowed to [a * inverse, b * inverse] (the product in
//   float32); the activation is then this clamp alone and `act` is not applied,
//   the product t is rounded before rint, which rounds ties to even. A NaN, which only an activation makes, gives zero.
//
// saturates: low and high are -zero and 255 - zero, and no |t| reaches 2^31, so that a conversion to integers and packing
// with saturation clamp as well. Never needed.
//
// A residual adds fma(float(r - residual_zero), residual_scale, y) before the activation.
//
// Every operation is one IEEE operation in float32 with the named fused multiply-adds and no others, so that results are
// equal to the bit on every instruction set, for `clip` and `hard_swish`, x * min(max(fma(x, 1/6, 0.5), 0), 1).
// The other activations are those of activation_f32, whose last bit may differ between `generic` and the wider sets:
// an output may there differ by one.
struct RequantU8 {
  float inverse, low, high;
  int32_t zero;
  float residual_scale;
  int32_t residual_zero;
  bool saturates;
  ActArgs act;
};

}  // namespace pw
