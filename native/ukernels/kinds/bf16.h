// One bf16 number in memory: the upper half of a float. Only micro-kernels compute with it (ukernels/body/bf16.inc).
#pragma once
#include <cstdint>

namespace pw {

struct Bf16 {
  uint16_t bits;
};

}  // namespace pw
