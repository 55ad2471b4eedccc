// The emulated tiles against the processor's definition in scalar steps. Prints what differs; exit code 1 then.
#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>

#define PW_LANES 16
#define PW_EMULATED
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/unit_rounding.inc"
#include "ukernels/body/amx.inc"

float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
float from_bf16(uint16_t h) {
  const uint32_t u = static_cast<uint32_t>(h) << 16;
  float x;
  std::memcpy(&x, &u, 4);
  return flushed(x);
}
float fma_step(uint16_t a, uint16_t b, float sum) { return flushed(std::fma(from_bf16(a), from_bf16(b), sum)); }
bool same(float x, float y) { return std::memcmp(&x, &y, 4) == 0 || (std::isnan(x) && std::isnan(y)); }

uint16_t random_bf16(std::mt19937& rng, int kind) {
  if (kind == 0) return static_cast<uint16_t>(rng());                                       // every pattern, NaN too
  if (kind == 1) return static_cast<uint16_t>((rng() & 0x80ff) | (60 + rng() % 8) << 7);   // products near denormals
  return static_cast<uint16_t>((rng() & 0x807f) | (120 + rng() % 12) << 7);                // of order 1
}

int check_bf16(std::mt19937& rng, int rows, int pairs, int kind) {
  alignas(64) uint16_t a[16][32], b[16][32];
  alignas(64) float c[16][16], before[16][16];
  for (auto& row : a) for (auto& x : row) x = random_bf16(rng, kind);
  for (auto& row : b) for (auto& x : row) x = random_bf16(rng, kind);
  for (auto& row : before) for (auto& x : row) x = kind == 1 ? std::ldexp(1.0f, -130) * (rng() % 64) : static_cast<float>(rng() % 100);
  const auto r = static_cast<uint8_t>(rows), p = static_cast<uint8_t>(pairs);
  Tiles t;
  tiles_configure(t, {r, r, r, r, r, r, p, p}, {64, 64, 64, 64, static_cast<uint16_t>(4 * pairs), 64, 64, 64});
  tile_load<0>(t, before, 64);
  tile_load<4>(t, a, 64);
  tile_load<6>(t, b, 64);
  tile_dp_bf16<0, 4, 6>(t);
  std::memset(c, 0x55, sizeof c);
  tile_store<0>(t, c, 64);
  int wrong = 0;
  for (int m = 0; m < rows; ++m)
    for (int n = 0; n < 16; ++n) {
      float even = 0, odd = 0;
      for (int k = 0; k < pairs; ++k) {
        even = fma_step(a[m][2 * k], b[k][2 * n], even);
        odd = fma_step(a[m][2 * k + 1], b[k][2 * n + 1], odd);
      }
      const float want = flushed(flushed(before[m][n]) + flushed(even + odd));
      if (!same(c[m][n], want) && ++wrong < 5)
        std::printf("bf16 %dx%d kind %d at %d,%d: %a, expected %a\n", rows, pairs, kind, m, n, c[m][n], want);
    }
  unsigned untouched;
  std::memcpy(&untouched, &c[15][0], 4);
  if (rows < 16 && untouched != 0x55555555u) std::printf("a store writes more rows than the tile has\n"), ++wrong;
  return wrong;
}

int check_int8(std::mt19937& rng, int rows, int quads) {
  alignas(64) uint8_t a[16][64];
  alignas(64) int8_t b[16][64];
  alignas(64) int32_t c[2][16][16];
  for (auto& row : a) for (auto& x : row) x = static_cast<uint8_t>(rng());
  for (auto& row : b) for (auto& x : row) x = static_cast<int8_t>(rng());
  const auto r = static_cast<uint8_t>(rows), q = static_cast<uint8_t>(quads);
  Tiles t;
  tiles_configure(t, {r, r, r, r, r, r, q, q}, {64, 64, 64, 64, static_cast<uint16_t>(4 * quads), 64, 64, 64});
  tile_load<4>(t, a, 64);
  tile_load<6>(t, b, 64);
  tile_dp_u8s8<0, 4, 6>(t);
  tile_dp_s8s8<1, 4, 6>(t);
  tile_store<0>(t, c[0], 64);
  tile_store<1>(t, c[1], 64);
  int wrong = 0;
  for (int m = 0; m < rows; ++m)
    for (int n = 0; n < 16; ++n) {
      int64_t u = 0, s = 0;
      for (int k = 0; k < 4 * quads; ++k) {
        u += static_cast<int64_t>(a[m][k]) * b[k / 4][4 * n + k % 4];
        s += static_cast<int64_t>(static_cast<int8_t>(a[m][k])) * b[k / 4][4 * n + k % 4];
      }
      wrong += c[0][m][n] != u || c[1][m][n] != s;
    }
  if (wrong) std::printf("int8 %dx%d: %d wrong\n", rows, quads, wrong);
  return wrong;
}

}  // namespace

int main() {
  std::mt19937 rng(7);
  int wrong = 0;
  const unsigned before = _mm_getcsr();
  for (int rows : {1, 2, 7, 13, 16})
    for (int depth : {1, 2, 5, 12, 16}) {
      for (int kind : {0, 1, 2}) wrong += check_bf16(rng, rows, depth, kind);
      wrong += check_int8(rng, rows, depth);
    }
  if (((_mm_getcsr() ^ before) & 0xffc0) != 0) std::printf("the rounding mode was changed\n"), ++wrong;
  return wrong != 0;
}
