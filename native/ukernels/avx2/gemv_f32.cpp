#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/gemv_f32.h"

#define PW_LANES 8

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/gemv_f32.inc"

constexpr GemvF32 k4{4, gemv<4, 2>};
constexpr GemvF32 k2{2, gemv<2, 4>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_GEMV_F32, "gemv_f32_4x2__avx2", &k4},
                                      {PW_KIND_GEMV_F32, "gemv_f32_2x4__avx2", &k2},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
