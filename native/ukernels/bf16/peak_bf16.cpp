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
#include "ukernels/body/peak_half.inc"

struct Unit {
  using Sum = vf;
  static PW_INLINE_MEMBER vf start(float x) { return splat(x); }
  static PW_INLINE_MEMBER vf step(vf sum, vu a, vu b) { return dot_pairs(sum, a, b); }
};

constexpr Peak kPeak{"bf16", kOperations, peak<Unit>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_bf16_dpbf16__bf16", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
