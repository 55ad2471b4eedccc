#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_u8.h"

#define PW_LANES 16
#define PW_VNNI
#define PW_WORDS_UNROLLED 1  // written out twice, a tile of 28 sums would spill

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/vnni.inc"
#include "ukernels/body/gemm_u8.inc"

// 32 registers: 24 to 28 accumulators, the columns of B, one broadcast.
constexpr GemmU8 k14x32{14, 32, 4, gemm<Bytes, 14, 2>, stage_bytes};
constexpr GemmU8 k9x48{9, 48, 4, gemm<Bytes, 9, 3>, stage_bytes};
constexpr GemmU8 k6x64{6, 64, 4, gemm<Bytes, 6, 4>, stage_bytes};
constexpr GemmU8 kPairs14x32{14, 32, 2, gemm<FusedPairs, 14, 2>, stage_pairs};
constexpr GemmU8 kPairs9x48{9, 48, 2, gemm<FusedPairs, 9, 3>, stage_pairs};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_14x32__vnni", &k14x32, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_9x48__vnni", &k9x48, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_6x64__vnni", &k6x64, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_14x32_pairs__vnni", &kPairs14x32, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_9x48_pairs__vnni", &kPairs9x48, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
