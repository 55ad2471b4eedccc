#define PW_LANES 4
#define PW_ISA "generic"
#define PW_F16
#include "ukernels/tiers/activation_half.inc"
