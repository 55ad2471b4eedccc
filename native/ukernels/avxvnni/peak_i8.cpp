#define PW_LANES 8
#define PW_ISA "avxvnni"
#include "ukernels/tiers/peak_i8_vnni.inc"
