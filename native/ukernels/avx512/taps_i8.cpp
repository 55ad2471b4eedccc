#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/taps_i8.inc"
