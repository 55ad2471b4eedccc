#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_u8.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/gemm_u8.inc"

// 16 registers: 8 accumulators, the columns of B, a broadcast and products.
constexpr GemmU8 k4x8{4, 8, 2, gemm<Pairs, 4, 2>, stage_pairs};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_4x8__generic", &k4x8, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
