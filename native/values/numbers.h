// Element types as C++ has them, and numbers of attributes in any of them.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "types/format.h"
#include "ukernels/kinds/half.h"
#include "values/stored.h"

namespace pw {

template <class T>
struct TypeTag {
  using type = T;
};

// Truth values lie in a byte that is 0 or 1.
enum class Bool : uint8_t { no, yes };

// Calls body(TypeTag<T>{}) with the type of an element. Halves come as Bf16 and F16, which have no arithmetic.
template <class Body>
decltype(auto) with_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64: return body(TypeTag<double>{});
    case DType::f16: return body(TypeTag<F16>{});
    case DType::bf16: return body(TypeTag<Bf16>{});
    case DType::i8: return body(TypeTag<int8_t>{});
    case DType::u8: return body(TypeTag<uint8_t>{});
    case DType::i16: return body(TypeTag<int16_t>{});
    case DType::u16: return body(TypeTag<uint16_t>{});
    case DType::i32: return body(TypeTag<int32_t>{});
    case DType::u32: return body(TypeTag<uint32_t>{});
    case DType::i64: return body(TypeTag<int64_t>{});
    case DType::u64: return body(TypeTag<uint64_t>{});
    case DType::boolean: return body(TypeTag<Bool>{});
    default: return body(TypeTag<float>{});
  }
}

template <class T>
constexpr bool kHalf = std::is_same_v<T, F16> || std::is_same_v<T, Bf16>;
template <class T>
constexpr bool kFloating = std::is_floating_point_v<T>;

// A double rounded once, to the nearest, ties to even: by way of a float that is rounded to odd, whose bits beyond a half
// still tell on which side of a tie the double lies.
inline float round_to_odd(double x) {
  const auto near = static_cast<float>(x);
  if (static_cast<double>(near) == x || x != x || std::isinf(near)) return near;
  const uint32_t bits = std::bit_cast<uint32_t>(near);
  if (bits & 1) return near;
  // The neighbour on the other side of x has an odd last bit.
  const bool above = std::fabs(static_cast<double>(near)) > std::fabs(x);
  return std::bit_cast<float>(above ? bits - 1 : bits + 1);
}

inline uint16_t f16_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | (size >> 13 & 0x3ffu));
  if (size >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65536 and more
  // Below the smallest normal number the sum with 1/2 rounds in units of 2^-24.
  if (size < 0x38800000u)
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000u));
  const uint32_t odd = size >> 13 & 1;
  return static_cast<uint16_t>(sign | ((size + 0xfffu + odd - 0x38000000u) >> 13));
}
inline uint16_t bf16_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

// A number in an element type. What does not fit an integer type gives what the processor makes of it: see `cast` in docs/.
template <class T>
T number_as(double x) {
  if constexpr (std::is_same_v<T, F16>) return {f16_bits(round_to_odd(x))};
  else if constexpr (std::is_same_v<T, Bf16>) return {bf16_bits(round_to_odd(x))};
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<Bool>(x != 0);
  else if constexpr (std::is_integral_v<T>) {
    if (!(x > -9.3e18 && x < 1.85e19)) return 0;
    return x < 9.2e18 ? static_cast<T>(static_cast<int64_t>(x)) : static_cast<T>(static_cast<uint64_t>(x));
  } else return static_cast<T>(x);
}

// The number that an attribute's text says, in an element type; whole numbers of 64 bits exactly.
inline void store_number(DType dtype, std::string_view text, void* target) {
  const std::string word(text);
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const bool whole = !word.empty() && word.find_first_not_of("+-0123456789") == std::string::npos;
    T value = number_as<T>(std::strtod(word.c_str(), nullptr));
    if constexpr (std::is_integral_v<T>)
      if (whole) value = word[0] == '-' ? static_cast<T>(std::strtoll(word.c_str(), nullptr, 10))
                                        : static_cast<T>(std::strtoull(word.c_str(), nullptr, 10));
    std::memcpy(target, &value, sizeof value);
  });
}

}  // namespace pw
