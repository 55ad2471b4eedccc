#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/taps_i8.inc"
