// One number of 16 bits in memory. Only micro-kernels compute with it (ukernels/body/half.inc).
#pragma once
#include <cstdint>

namespace pw {

struct Bf16 {  // the upper half of a float: 8 bits of exponent, 7 of mantissa
  uint16_t bits;
};
struct F16 {  // IEEE 754 binary16: 5 bits of exponent, 10 of mantissa; from 2^-24 (denormal) to 65504
  uint16_t bits;
};

}  // namespace pw
