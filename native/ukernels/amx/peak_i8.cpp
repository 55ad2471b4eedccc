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

using Factor = uint8_t;
PW_INLINE Factor factor(float x) { return static_cast<Factor>(x); }
template <int C, int A, int B>
PW_INLINE void multiply(Tiles& t) { tile_dp_u8s8<C, A, B>(t); }

#include "ukernels/body/peak_tiles.inc"

constexpr Peak kPeak{"i8", 4 * 2 * 16 * 16 * 64, peak};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_PEAK, "peak_i8_tdpbusd__amx", &kPeak}, {nullptr, nullptr, nullptr}};
}  // namespace pw
