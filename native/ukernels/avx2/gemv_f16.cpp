#define PW_LANES 8
#define PW_ISA "avx2"
#define PW_F16
#include "ukernels/tiers/gemv_half.inc"
