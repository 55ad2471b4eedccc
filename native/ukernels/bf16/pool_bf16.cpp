#define PW_LANES 16
#define PW_ISA "bf16"
#define PW_BF16_UNIT
#include "ukernels/tiers/pool_half.inc"
