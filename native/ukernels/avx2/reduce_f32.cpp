#include <cstddef>
#include <cstdint>

#include "spi/ukernel.h"
#include "ukernels/kinds/activation.h"
#include "ukernels/kinds/reduce_f32.h"

#define PW_LANES 8

namespace pw {
namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/reduce_f32.inc"

constexpr ReduceF32 kReduce{reduce_rows_any, reduce_columns_any};
constexpr SoftmaxF32 kSoftmax{softmax};
}  // namespace

extern const UKernel PW_UKERNELS[] = {{PW_KIND_REDUCE_F32, "reduce_f32__avx2", &kReduce},
                                      {PW_KIND_SOFTMAX_F32, "softmax_f32__avx2", &kSoftmax},
                                      {nullptr, nullptr, nullptr}};
}  // namespace pw
