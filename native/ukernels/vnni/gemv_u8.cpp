#define PW_LANES 16
#define PW_ISA "vnni"
#define PW_VNNI
#include "ukernels/tiers/gemv_u8.inc"
