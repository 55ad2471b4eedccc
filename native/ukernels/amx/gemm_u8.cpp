#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_u8.h"

#define PW_LANES 16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/unit_rounding.inc"
#include "ukernels/body/amx.inc"
#include "ukernels/body/gemm_u8.inc"
#include "ukernels/body/gemm_u8_tiles.inc"

constexpr GemmU8 k32x32{32, 32, 4, gemm_tiles, stage_bytes, false, 16, open_tiles, close_tiles};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_32x32__amx", &k32x32, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
