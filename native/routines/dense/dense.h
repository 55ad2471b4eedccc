// Shapes of a dense problem, and the conditions that all its routines share: y = act(x @ w.T + b + residual).
#pragma once
#include "routines/matrix.h"

namespace pw {

struct DenseShape {
  int64_t rows, depth, columns;
  explicit DenseShape(const Problem& p)
      : rows(count(p.in[0].shape) / std::max<int64_t>(1, p.in[0].shape.back())),
        depth(p.in[0].shape.back()),
        columns(p.in[1].shape[0]) {}
};

inline Verdict accepts_dense(const Problem& p) {
  if (p.in.size() < 2 || p.in[0].dtype != DType::f32 || p.in[0].shape.empty()) return Verdict::no("x is not f32");
  if (!p.in[1].constant || p.in[1].dtype != DType::f32) return Verdict::no("the weights are not an f32 constant");
  if (p.arity() > 2 && p.has(2) && !p.in[2].constant) return Verdict::no("the bias is not a constant");
  if (p.in[0].constant || (p.epilogue.add && p.in.back().constant)) return Verdict::no("x or the residual is a constant");
  if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
  if (!epilogue_activation(p)) return Verdict::no("activation " + p.epilogue.act + " is not in the micro-kernels");
  return Verdict::ok();
}

inline Ports dense_ports(const Problem& p) { return uniform_ports(p, Layout::nchw); }

inline const float* dense_bias(const Problem& p, const Constants& constants) {
  return p.arity() > 2 && p.has(2) ? constants[2].as<float>() : nullptr;
}

}  // namespace pw
