#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/resize_f32.h"

#define PW_LANES 16

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/resize_f32.inc"

constexpr ResizeF32 kResize{bilinear};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_RESIZE_F32, "resize_f32__avx512", &kResize},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
