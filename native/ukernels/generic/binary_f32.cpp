#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/binary_f32.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/binary_f32.inc"

constexpr BinaryF32 kBinary{binary};
constexpr MaddF32 kMadd{madd};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_BINARY_F32, "binary_f32__generic", &kBinary},
                                      {PW_KIND_MADD_F32, "madd_f32__generic", &kMadd},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
