#define PW_LANES 8
#define PW_ISA "avx2"
#include "ukernels/tiers/pool_line_f32.inc"
