// The emulated multiply-add in f16, and conversions without F16C, against exact sums rounded once by a search of integers.
// Prints what differs; exit code 1 then.
#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>

#include "ukernels/kinds/half.h"

#define PW_F16
#define PW_EMULATED
using pw::F16;
namespace wide {
#define PW_LANES 16
#include "ukernels/body/vec.inc"
#include "ukernels/body/half.inc"
#include "ukernels/body/fma_f16.inc"
#undef PW_LANES
}  // namespace wide
#undef PW_INLINE
#undef PW_FORM
namespace plain {
#define PW_LANES 4
#include "ukernels/body/vec.inc"
#include "ukernels/body/half.inc"
}  // namespace plain

using Exact = __float128;  // 113 bits hold a product of two numbers in f16 and any third one

double value(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                                     : std::ldexp(exponent ? mantissa + 1024 : mantissa, std::max(exponent, 1) - 25);
  return h & 0x8000 ? -size : size;
}

// The number in f16 nearest to x, ties to even; x is finite.
uint16_t rounded(Exact x, bool negative) {
  const Exact size = x < 0 ? -x : x;
  const uint16_t sign = negative ? 0x8000 : 0;
  if (size >= 65520) return sign | 0x7c00;
  uint16_t low = 0, high = 0x7c00;  // value(low) <= size < value(high), infinity as 65536
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (Exact(value(middle)) <= size ? low : high) = middle;
  }
  const Exact below = size - Exact(value(low)), above = (high == 0x7c00 ? Exact(65536) : Exact(value(high))) - size;
  return sign | (below < above || (below == above && low % 2 == 0) ? low : high);
}

bool same(uint16_t x, uint16_t y) { return x == y || (std::isnan(value(x)) && std::isnan(value(y))); }

uint16_t reference(uint16_t a, uint16_t b, uint16_t c) {
  const double x = value(a), y = value(b), z = value(c), plain = x * y + z;
  if (!std::isfinite(x) || !std::isfinite(y) || !std::isfinite(z))
    return std::isnan(plain) ? 0x7e00 : plain < 0 ? 0xfc00 : 0x7c00;
  const Exact sum = Exact(x) * Exact(y) + Exact(z);
  return rounded(sum, sum < 0 || (sum == 0 && std::signbit(plain)));
}

uint16_t random_half(std::mt19937& rng, int kind) {
  if (kind == 0) return static_cast<uint16_t>(rng());                                            // every pattern
  if (kind == 1) return static_cast<uint16_t>((rng() & 0x83ff) | rng() % 4 << 10);               // denormals and near them
  if (kind == 2) return static_cast<uint16_t>((rng() & 0x8000) | (13 + rng() % 4) << 10 | (rng() % 8) << 7);  // many ties
  return static_cast<uint16_t>((rng() & 0x83ff) | (10 + rng() % 8) << 10);                       // of order 1
}

int check_fma(std::mt19937& rng, int kind, int times) {
  int wrong = 0;
  for (int t = 0; t < times; ++t) {
    alignas(64) uint16_t a[32], b[32], c[32], y[32];
    for (int i = 0; i < 32; ++i) a[i] = random_half(rng, kind), b[i] = random_half(rng, kind);
    // Sums that are far apart, close, and that cancel.
    for (int i = 0; i < 32; ++i) {
      const uint16_t product = reference(a[i], b[i], 0);
      c[i] = i % 4 == 0 ? static_cast<uint16_t>(product ^ 0x8000 ^ rng() % 4) : random_half(rng, i % 4 == 1 ? 0 : kind);
    }
    wide::vu sums, x, w;
    std::memcpy(&sums, c, 64), std::memcpy(&x, a, 64), std::memcpy(&w, b, 64);
    sums = wide::fma_pairs(sums, x, w);
    std::memcpy(y, &sums, 64);
    for (int i = 0; i < 32; ++i)
      if (const uint16_t want = reference(a[i], b[i], c[i]); !same(y[i], want) && ++wrong < 10)
        std::printf("%a * %a + %a: %a, expected %a\n", value(a[i]), value(b[i]), value(c[i]), value(y[i]), value(want));
  }
  return wrong;
}

int check_conversions(std::mt19937& rng) {
  int wrong = 0;
  for (int h = 0; h < 1 << 16; ++h) {
    const auto bits = static_cast<uint16_t>(h);
    const float x = plain::load_one(reinterpret_cast<const F16*>(&bits));
    const double want = value(bits);
    if (!(x == want || (std::isnan(x) && std::isnan(want))) || std::signbit(x) != std::signbit(want))
      ++wrong, std::printf("%04x: %a, expected %a\n", h, x, want);
  }
  for (int t = 0; t < 400000; ++t) {
    uint32_t u = static_cast<uint32_t>(rng());
    if (t % 2) u = (u & 0x800fffff) | static_cast<uint32_t>(0x32800000 + rng() % 0x15800000) / 0x2000 * 0x2000 | 0x1000 * (t % 4 == 1);
    float x;
    std::memcpy(&x, &u, 4);
    uint16_t y;
    plain::store_one(reinterpret_cast<F16*>(&y), x);
    const uint16_t want = std::isnan(x) ? 0x7e00 : std::isinf(x) ? (x < 0 ? 0xfc00 : 0x7c00) : rounded(Exact(x), std::signbit(x));
    if (!same(y, want) && ++wrong < 10) std::printf("%a: %04x, expected %04x\n", x, y, want);
  }
  return wrong;
}

int main() {
  std::mt19937 rng(11);
  int wrong = check_conversions(rng);
  for (int kind : {0, 1, 2, 3}) wrong += check_fma(rng, kind, 4000);
  return wrong != 0;
}
