#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/band_f32.inc"
