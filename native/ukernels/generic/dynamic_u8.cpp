#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/dynamic_u8.inc"
