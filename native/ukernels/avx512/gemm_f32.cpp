#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_f32.h"

#define PW_LANES 16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/gemm_f32.inc"

// 32 registers: 24 accumulators, the columns of B and one broadcast; 12 row pointers are as many as stay in registers.
constexpr GemmF32 k12x32{12, 32, gemm<12, 2>};
constexpr GemmF32 k8x48{8, 48, gemm<8, 3>};
constexpr GemmF32 k14x16{14, 16, gemm<14, 1>};
constexpr GemmF32 k14x16indexed{14, 16, gemm<14, 1, true>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_F32, "gemm_f32_12x32__avx512", &k12x32, kActivations},
                                      {PW_KIND_GEMM_F32, "gemm_f32_8x48__avx512", &k8x48, kActivations},
                                      {PW_KIND_GEMM_F32, "gemm_f32_14x16__avx512", &k14x16, kActivations},
                                      {PW_KIND_GEMM_INDEXED_F32, "gemm_indexed_f32_14x16__avx512", &k14x16indexed, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
