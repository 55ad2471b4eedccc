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
#include "ukernels/body/gemm_half_vectors.inc"

constexpr GemmHalf kGemm{open_nothing, run<VectorUnit>, close_nothing};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMM_BF16, "gemm_bf16_8x32__bf16", &kGemm}, {nullptr, nullptr, nullptr}};
}  // namespace pw
