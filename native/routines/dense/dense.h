// Shapes of a dense problem, and the conditions that all its routines share: y = act(x @ w.T + b + residual).
#pragma once
#include "products/matrix.h"

namespace pw {

struct DenseShape {
  int64_t rows, depth, columns;
  explicit DenseShape(const Problem& p)
      : rows(count(p.in[0].shape) / std::max<int64_t>(1, p.in[0].shape.back())),
        depth(p.in[0].shape.back()),
        columns(p.in[1].shape[0]) {}
};

// `applying`: kind of the micro-kernels that apply the epilogue.
inline Verdict accepts_dense(const Problem& p, const std::string& applying = PW_KIND_GEMM_F32) {
  if (Verdict v = accepts_weights(p, applying); !v) return v;
  return p.in[0].shape.empty() ? Verdict::no("x has rank 0") : Verdict::ok();
}

}  // namespace pw
