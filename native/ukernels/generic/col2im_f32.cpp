#define PW_LANES 4
#define PW_ISA "generic"
#include "ukernels/tiers/col2im_f32.inc"
