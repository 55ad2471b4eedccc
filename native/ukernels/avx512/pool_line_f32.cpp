#define PW_LANES 16
#define PW_ISA "avx512"
#include "ukernels/tiers/pool_line_f32.inc"
