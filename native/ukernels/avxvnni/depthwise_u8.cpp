#include <immintrin.h>

#define PW_LANES 8
#define PW_ISA "avxvnni"
#define PW_VNNI
#include "ukernels/tiers/depthwise_u8.inc"
