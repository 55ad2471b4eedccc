// The conditions that dense layers on u8 share.
#pragma once
#include "routines/dense/dense.h"
#include "values/quantised.h"

namespace pw {

// What the f32 routines accept, with sums that fit 32 bits.
inline Verdict accepts_dense_u8(const Problem& p, const std::string& applying) {
  if (Verdict v = accepts_dense(p, applying); !v) return v;
  if (DenseShape(p).depth > kMostTerms)
    return Verdict::no(std::to_string(DenseShape(p).depth) + " terms may not fit a sum of 32 bits");
  return Verdict::ok();
}

}  // namespace pw
