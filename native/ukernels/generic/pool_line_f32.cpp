#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/pool_line_f32.inc"
