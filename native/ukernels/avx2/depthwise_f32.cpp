#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/depthwise_f32.h"

#define PW_LANES 8

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/depthwise_f32.inc"

constexpr DepthwiseF32 k3s1{3, 1, 4, PW_LANES, depthwise<3, 1, 4>};
constexpr DepthwiseF32 k3s2{3, 2, 4, PW_LANES, depthwise<3, 2, 4>};
constexpr DepthwiseF32 k5s1{5, 1, 4, PW_LANES, depthwise<5, 1, 4>};
constexpr DepthwiseF32 k5s2{5, 2, 4, PW_LANES, depthwise<5, 2, 4>};
constexpr DepthwiseF32 kAny{0, 0, 1, PW_LANES, depthwise_general};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_DEPTHWISE_F32, "depthwise_f32_3x3s1__avx2", &k3s1},
                                      {PW_KIND_DEPTHWISE_F32, "depthwise_f32_3x3s2__avx2", &k3s2},
                                      {PW_KIND_DEPTHWISE_F32, "depthwise_f32_5x5s1__avx2", &k5s1},
                                      {PW_KIND_DEPTHWISE_F32, "depthwise_f32_5x5s2__avx2", &k5s2},
                                      {PW_KIND_DEPTHWISE_F32, "depthwise_f32_any__avx2", &kAny},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
