#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_half.h"

#define PW_LANES 16
#define PW_BF16_UNIT

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/half.inc"
#include "ukernels/body/unit_rounding.inc"
#include "ukernels/body/amx.inc"
#include "ukernels/body/gemm_half.inc"
#include "ukernels/body/gemm_bf16_tiles.inc"

constexpr GemmHalf kGemm{3, open_tiles, run<TileUnit>, close_tiles};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_BF16, "gemm_bf16_32x32__amx", &kGemm, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
