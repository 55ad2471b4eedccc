#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/activation.h"

#define PW_LANES 4

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"

void run(const ActArgs* args, const float* x, float* y, int64_t n) { apply_act(*args, x, y, n); }
constexpr ActivationF32 kActivation{run};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_ACTIVATION_F32, "activation_f32__generic", &kActivation},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
