#include <immintrin.h>

#define PW_LANES 16
#define PW_ISA "vnni"
#define PW_VNNI
#include "ukernels/tiers/depthwise_u8.inc"
