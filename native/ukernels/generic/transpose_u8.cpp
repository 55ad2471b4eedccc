#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/transpose_u8.inc"
