#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/sparse_gemv_f32.inc"
