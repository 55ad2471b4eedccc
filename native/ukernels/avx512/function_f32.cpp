#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/function_f32.inc"
