#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/dynamic_u8.inc"
