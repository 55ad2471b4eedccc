// Lines of outputs from lines of phases: what conv_transpose2/planar and conv_transpose2/col2im_planar share.
#pragma once
#include <cstring>

#include "routines/conv_transpose2/geometry.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {

// Interleaves `stride` phases of n positions, which lie `phase` floats apart, in a line of `width` outputs at `to`; the first
// output is number `x` of the line, and may lie before it. `between` holds n * stride floats.
inline void interleave(const TransposeF32& transpose, const float* phases, int64_t phase, int64_t stride, int64_t n, int64_t x,
                       int64_t width, float* between, float* to) {
  const int64_t all = n * stride, first = std::max<int64_t>(0, -x), last = std::min(all, width - x);
  if (stride > 1) {
    if (first == 0 && last == all) return transpose.run(phases, phase, to + x, stride, stride, n);
    transpose.run(phases, phase, between, stride, stride, n);
    phases = between;
  }
  if (last > first) std::memcpy(to + x + first, phases + first, static_cast<size_t>(last - first) * 4);
}

}  // namespace pw
