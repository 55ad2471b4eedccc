#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/norm_f32.inc"
