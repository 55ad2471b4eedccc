// How many bytes TDPBUSD multiplies. See kinds/limits.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/limits.h"

#define PW_LANES 16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/unit_rounding.inc"
#include "ukernels/body/amx.inc"

// Four tiles of sums, as in gemm_u8: a product takes 16 cycles and its sums 52 until the next one may add to them.
static float peak(int64_t rounds, float one, float zero) {
  uint8_t ones[kTileRows][kTileBytes];
  for (auto& row : ones)
    for (auto& x : row) x = static_cast<uint8_t>(one + zero);
  Tiles t;
  tiles_configure(t, {16, 16, 16, 16, 16, 16, 16, 16}, {64, 64, 64, 64, 64, 64, 64, 64});
  // The loads do not say which memory they read.
  __asm__ volatile("" : : "r"(ones) : "memory");
  tile_load<4>(t, ones, 64);
  tile_load<5>(t, ones, 64);
  tile_load<6>(t, ones, 64);
  tile_load<7>(t, ones, 64);
  for (int64_t r = 0; r < rounds; ++r) {
    tile_dp_u8s8<0, 4, 6>(t);
    tile_dp_u8s8<1, 4, 7>(t);
    tile_dp_u8s8<2, 5, 6>(t);
    tile_dp_u8s8<3, 5, 7>(t);
  }
  int32_t sums[4][16][16];
  tile_store<0>(t, sums[0], 64);
  tile_store<1>(t, sums[1], 64);
  tile_store<2>(t, sums[2], 64);
  tile_store<3>(t, sums[3], 64);
  tiles_release(t);
  return static_cast<float>(sums[0][0][0] ^ sums[1][0][0] ^ sums[2][0][0] ^ sums[3][0][0]);
}

constexpr Peak kPeak{"i8", 4 * 2 * 16 * 16 * 64, peak};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_i8_tdpbusd__amx", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
