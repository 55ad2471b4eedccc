#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/winograd_f32.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/winograd_f32.inc"

constexpr WinogradF32 k2{2, winograd_input<2>, winograd_output<2>};
constexpr WinogradF32 k4{4, winograd_input<4>, winograd_output<4>};
constexpr WinogradF32 k6{6, winograd_input<6>, winograd_output<6>};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_WINOGRAD_F32, "winograd_f32_2__generic", &k2},
                                      {PW_KIND_WINOGRAD_F32, "winograd_f32_4__generic", &k4},
                                      {PW_KIND_WINOGRAD_F32, "winograd_f32_6__generic", &k6},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
