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
#include "ukernels/body/gemm_half.inc"
#include "ukernels/body/dot_bf16.inc"
#include "ukernels/body/gemm_bf16_vectors.inc"

// 32 registers: 24 sums, a block of columns or several, and one broadcast. 8x32 alone multiplies parts.
constexpr GemmHalf k8x32{3, open_nothing, run_parts, close_nothing};
constexpr GemmHalf k12x32{1, open_nothing, run_tiles<12, 2>, close_nothing};
constexpr GemmHalf k14x16{1, open_nothing, run_tiles<14, 1>, close_nothing};
constexpr GemmHalf k6x64{1, open_nothing, run_tiles<6, 4>, close_nothing};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_BF16, "gemm_bf16_8x32__bf16", &k8x32, kActivations},
                                      {PW_KIND_GEMM_BF16, "gemm_bf16_12x32__bf16", &k12x32, kActivations},
                                      {PW_KIND_GEMM_BF16, "gemm_bf16_14x16__bf16", &k14x16, kActivations},
                                      {PW_KIND_GEMM_BF16, "gemm_bf16_6x64__bf16", &k6x64, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
