// How many numbers in bf16 TDPBF16PS multiplies. See kinds/limits.h.
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

using Factor = uint16_t;
PW_INLINE Factor factor(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return static_cast<Factor>(bits >> 16);  // 1 and 0 are exact
}
template <int C, int A, int B>
PW_INLINE void multiply(Tiles& t) { tile_dp_bf16<C, A, B>(t); }

#include "ukernels/body/peak_tiles.inc"

constexpr Peak kPeak{"bf16", 4 * 2 * 16 * 16 * 32, peak};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_bf16_tdpbf16__amx", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
