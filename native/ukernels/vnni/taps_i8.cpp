#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/requant_u8.h"
#include "ukernels/kinds/taps_i8.h"

#define PW_LANES 16
#define PW_VNNI
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of operands that intrinsics leave undefined

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/vnni.inc"
#include "ukernels/body/taps_i8_quads.inc"

constexpr TapsI8 kQuads{4, kBlock, taps_quads};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_TAPS_I8, "taps_i8_quads__vnni", &kQuads}, {nullptr, nullptr, nullptr}};
}  // namespace pw
