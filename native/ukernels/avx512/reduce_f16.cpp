#define PW_LANES 16
#define PW_ISA "avx512"
#define PW_F16
#include "ukernels/tiers/reduce_half.inc"
