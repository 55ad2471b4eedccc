#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/peak_i8.inc"
