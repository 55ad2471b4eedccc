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
#include "ukernels/body/peak_half.inc"

struct Unit {
  using Sum = vu;
  static PW_INLINE_MEMBER vu start(float x) { return pairs_of(x); }
  static PW_INLINE_MEMBER vu step(vu sum, vu a, vu b) { return fma_pairs(b, sum, a); }
};

constexpr Peak kPeak{"f16", kOperations, peak<Unit>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_f16__fp16", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
