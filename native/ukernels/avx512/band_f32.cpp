#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/band_f32.inc"
