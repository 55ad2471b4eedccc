#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_u8.h"

#define PW_LANES 8
#define PW_VNNI
#define PW_WORDS_UNROLLED 1

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/vec_u8.inc"
#include "ukernels/body/vnni.inc"
#include "ukernels/body/gemm_u8.inc"

// 16 registers: 12 accumulators, the columns of B, one broadcast.
constexpr GemmU8 k6x16{6, 16, 4, gemm<Bytes, 6, 2>, stage_bytes};
constexpr GemmU8 k4x24{4, 24, 4, gemm<Bytes, 4, 3>, stage_bytes};
constexpr GemmU8 kPairs6x16{6, 16, 2, gemm<FusedPairs, 6, 2>, stage_pairs};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_U8, "gemm_u8_6x16__avxvnni", &k6x16, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_4x24__avxvnni", &k4x24, kActivations},
                                      {PW_KIND_GEMM_U8, "gemm_u8_6x16_pairs__avxvnni", &kPairs6x16, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
