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
#include "ukernels/body/gemm_u8.inc"

// 32 registers: 24 accumulators, the columns of B, one broadcast and products.
constexpr GemmU8 k12x32{12, 32, 4, gemm<NarrowPairs, 12, 2>, stage_bytes, true};
constexpr GemmU8 k8x48{8, 48, 4, gemm<NarrowPairs, 8, 3>, stage_bytes, true};
constexpr GemmU8 kPairs12x32{12, 32, 2, gemm<Pairs, 12, 2>, stage_pairs};
constexpr GemmU8 kPairs8x48{8, 48, 2, gemm<Pairs, 8, 3>, stage_pairs};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_12x32__avx512", &k12x32, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_8x48__avx512", &k8x48, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_12x32_pairs__avx512", &kPairs12x32, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_8x48_pairs__avx512", &kPairs8x48, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
