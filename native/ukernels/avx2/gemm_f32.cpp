#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_f32.h"

#define PW_LANES 8

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/gemm_f32.inc"

// 16 registers: 12 accumulators, the columns of B and one broadcast.
constexpr GemmF32 k6x16{6, 16, gemm<6, 2>};
constexpr GemmF32 k4x24{4, 24, gemm<4, 3>};
constexpr GemmF32 k6x16indexed{6, 16, gemm<6, 2, true>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_F32, "gemm_f32_6x16__avx2", &k6x16, kActivations},
                                      {PW_KIND_GEMM_F32, "gemm_f32_4x24__avx2", &k4x24, kActivations},
                                      {PW_KIND_GEMM_INDEXED_F32, "gemm_indexed_f32_6x16__avx2", &k6x16indexed, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
