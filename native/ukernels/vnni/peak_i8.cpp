#define PW_LANES 16
#define PW_ISA "vnni"
#include "ukernels/tiers/peak_i8_vnni.inc"
