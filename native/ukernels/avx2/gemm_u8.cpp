#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_u8.h"

#define PW_LANES 8

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/gemm_u8.inc"

// 16 registers: 12 accumulators, the columns of B, one broadcast and a product.
constexpr GemmU8 k6x16{6, 16, 4, gemm<NarrowPairs, 6, 2>, stage_bytes, true};
constexpr GemmU8 k4x24{4, 24, 4, gemm<NarrowPairs, 4, 3>, stage_bytes, true};
constexpr GemmU8 kPairs6x16{6, 16, 2, gemm<Pairs, 6, 2>, stage_pairs};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_6x16__avx2", &k6x16, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_4x24__avx2", &k4x24, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_6x16_pairs__avx2", &kPairs6x16, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
