// Blocks of 16 channels, for layers that have no 32, or few more.
#define PW_LANES 8
#define PW_ISA "vnni"
#define PW_SIZE "_narrow"
#include "ukernels/tiers/depthwise_u8.inc"
