#define PW_LANES 8
#define PW_ISA "avx2"
#include "ukernels/tiers/dynamic_u8.inc"
