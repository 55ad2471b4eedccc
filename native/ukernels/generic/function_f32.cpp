#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/function_f32.inc"
