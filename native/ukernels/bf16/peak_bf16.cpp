// How many numbers in bf16 VDPBF16PS multiplies and adds. See kinds/limits.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/half.h"
#include "ukernels/kinds/limits.h"

#define PW_LANES 16
#define PW_BF16_UNIT

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/half.inc"
#include "ukernels/body/dot_bf16.inc"

// As peak_f32 has them: the latency is six cycles, and no processor has more than two of these units.
constexpr int kChains = 12;

static float peak(int64_t rounds, float one, float zero) {
  const auto pairs = [](float x) __attribute__((always_inline)) {
    const vu lanes = __builtin_convertvector(narrow(splat(x)), vu);
    return lanes | lanes << 16;
  };
  const vu a = pairs(one), b = pairs(zero);
  vf acc[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) acc[i] = splat(one + static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = dot_pairs(acc[i], a, b);
  }
  vf all{};
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) all += acc[i];
  return all[0];
}

constexpr Peak kPeak{"bf16", 2 * kChains * 2 * PW_LANES, peak};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_bf16_dpbf16__bf16", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
