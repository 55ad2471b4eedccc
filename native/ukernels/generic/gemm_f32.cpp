#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_f32.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/gemm_f32.inc"

// 16 registers without fused multiply-add: 8 accumulators, the columns of B, a broadcast and a product.
constexpr GemmF32 k2x16{2, 16, gemm<2, 4>};
constexpr GemmF32 k2x16indexed{2, 16, gemm<2, 4, true>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_F32, "gemm_f32_2x16__generic", &k2x16, kActivations},
                                      {PW_KIND_GEMM_INDEXED_F32, "gemm_indexed_f32_2x16__generic", &k2x16indexed, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
