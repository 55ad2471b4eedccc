#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemm_half.h"

#define PW_LANES 16
#define PW_F16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/half.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/gemm_half.inc"
#include "ukernels/body/fma_f16.inc"
#include "ukernels/body/gemm_f16_vectors.inc"
#include "ukernels/body/gemm_half_vectors.inc"

constexpr GemmHalf kGemm{1, open_nothing, run<VectorUnit, 1>, close_nothing};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_F16, "gemm_f16_8x32__fp16", &kGemm, kActivations},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
