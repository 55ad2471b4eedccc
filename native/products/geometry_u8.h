// The conditions that convolutions on u8 share.
#pragma once
#include "products/geometry.h"
#include "values/quantised.h"

namespace pw {

// What the f32 routines accept in nhwc, with sums that fit 32 bits and an activation that micro-kernels of kind `applying`
// apply.
inline Verdict accepts_convolution_u8(const Problem& p, const std::string& applying) {
  if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc, applying); !v) return v;
  const Geometry g(p);
  const int64_t terms = p.in[1].count() / p.in[1].shape[0];
  if (terms > kMostTerms) return Verdict::no(std::to_string(terms) + " terms may not fit a sum of 32 bits");
  if (g.inputs * g.in_pixels() > INT32_MAX) return Verdict::no("an image has more than 2^31 elements");
  return Verdict::ok();
}

}  // namespace pw
