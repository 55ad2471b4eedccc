// Routines that compute in f32 and are written once for how values lie in memory: T is float, or Bf16 for the form bf16.
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/buffer.h"
#include "spi/ukernel.h"
#include "types/format.h"
#include "ukernels/kinds/bf16.h"
#include "ukernels/kinds/convert_bf16.h"

namespace pw {

template <class T>
constexpr DType kStored = std::is_same_v<T, float> ? DType::f32 : DType::bf16;

// The micro-kernels for T of a kind that has both.
template <class T>
const char* stored_kind(const char* of_floats, const char* of_bf16) {
  return std::is_same_v<T, float> ? of_floats : of_bf16;
}

inline float as_float(float x) { return x; }
inline float as_float(Bf16 x) {
  const uint32_t u = static_cast<uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &u, 4);
  return y;
}

// n floats as they are stored; a constant among values is rounded as they are.
template <class T>
void store_floats(const float* x, T* y, int64_t n) {
  if constexpr (std::is_same_v<T, float>) std::copy(x, x + n, y);
  else best_ukernel<ConvertBf16>(PW_KIND_CONVERT_BF16).narrow(x, &y->bits, n);
}
template <class T>
Buffer stored_floats(const float* x, int64_t n) {
  Buffer y(static_cast<size_t>(n) * sizeof(T));
  store_floats(x, y.as<T>(), n);
  return y;
}

}  // namespace pw
