#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/pool_f32.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/pool_f32.inc"

constexpr PoolF32 kPool{pool_channels_any, pool_row_any};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_POOL_F32, "pool_f32__generic", &kPool},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
