// Routines that compute in f32 and are written once for how values lie in memory: T is float, or
// Bf16 or F16 for the forms bf16 and f16.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <type_traits>

#include "base/buffer.h"
#include "spi/ukernel.h"
#include "types/format.h"
#include "ukernels/kinds/convert.h"
#include "ukernels/kinds/half.h"

namespace pw {

template <class T>
constexpr DType kStored = std::is_same_v<T, float> ? DType::f32 : std::is_same_v<T, Bf16> ? DType::bf16 : DType::f16;

// Calls body(T{}) for every T of 16 bits.
template <class Body>
void for_each_half(Body&& body) {
  body(Bf16{});
  body(F16{});
}

// The micro-kernels for T of a kind whose name ends with the form of its values.
template <class T>
std::string stored_kind(const char* kind) {
  return std::string(kind) + text(kStored<T>);
}

inline float as_float(float x) { return x; }
inline float as_float(Bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline float as_float(F16 x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16, size = x.bits & 0x7fffu;
  if (size < 0x400) return std::copysign(static_cast<float>(size) * 0x1p-24f, std::bit_cast<float>(sign));
  // Exponents of the two formats differ by 112; that of infinity and NaN by twice as much.
  return std::bit_cast<float>(sign | ((size << 13) + ((size < 0x7c00 ? 112u : 224u) << 23)));
}

// n floats as they are stored; a constant among values is rounded as they are.
template <class T>
void store_floats(const float* x, T* y, int64_t n) {
  if constexpr (std::is_same_v<T, float>) std::copy(x, x + n, y);
  else best_ukernel<Convert>(stored_kind<T>(PW_KIND_CONVERT)).narrow(x, &y->bits, n);
}
template <class T>
Buffer stored_floats(const float* x, int64_t n) {
  Buffer y(static_cast<size_t>(n) * sizeof(T));
  store_floats(x, y.as<T>(), n);
  return y;
}

}  // namespace pw
