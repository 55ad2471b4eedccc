#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/transpose_f32.h"

#define PW_LANES 16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/transpose_f32.inc"

constexpr TransposeF32 kTranspose{transpose};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_TRANSPOSE_F32, "transpose_f32__avx512", &kTranspose},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
