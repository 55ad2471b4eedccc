// How many numbers in f16 VFMADDPH multiplies and adds. See kinds/limits.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/half.h"
#include "ukernels/kinds/limits.h"

#define PW_LANES 16
#define PW_F16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/half.inc"
#include "ukernels/body/fma_f16.inc"

// As peak_f32 has them.
constexpr int kChains = 12;

static float peak(int64_t rounds, float one, float zero) {
  const auto pairs = [](float x) __attribute__((always_inline)) {
    const vu lanes = __builtin_convertvector(narrow(splat(x)), vu);
    return lanes | lanes << 16;
  };
  const vu a = pairs(one), b = pairs(zero);
  vu acc[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) acc[i] = pairs(one + static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = fma_pairs(b, acc[i], a);
  }
  vu all{};
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) all += acc[i];
  return static_cast<float>(all[0] & 0xffff);
}

constexpr Peak kPeak{"f16", 2 * kChains * 2 * PW_LANES, peak};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_f16__fp16", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
