#define PW_LANES 8
#define PW_ISA "avx2"
#include "ukernels/tiers/taps_i8.inc"
