// What the routines of inverted_residual share: which input is which, and what they accept.
#pragma once
#include "products/depthwise.h"
#include "products/stages.h"

namespace pw::inverted_residual {

enum Input { kX, kExpand, kExpandBias, kDepthwise, kDepthwiseBias, kProject, kProjectBias, kArity };

// The depthwise stage as a problem of its own sees it; its input is the expanded value.
inline Geometry depthwise_geometry(const Problem& p) {
  Problem d = p;
  const Dims& x = p.in[kX].shape;
  const Dims& w = p.in[kDepthwise].shape;
  d.kind = "depthwise_conv2";
  d.in = {p.in[kX], p.in[kDepthwise]};
  d.in[0].shape = {x[0], w[0], x[2], x[3]};
  return Geometry(d);
}

// The activation after the depthwise stage, which may be the last one.
inline std::optional<ActArgs> depthwise_activation(const Problem& p) {
  return p.in[kProject].present ? stage_activation(p, "depthwise") : epilogue_activation(p);
}

// The micro-kernel of the depthwise stage, "" when there is none.
inline std::string depthwise_kernel(const Problem& p) {
  return depthwise_ukernel(depthwise_geometry(p), depthwise_activation(p).value_or(kNoActivation).act);
}
// Micro-kernels of both products.
inline std::vector<std::string> product_variants(const Problem& p) {
  return stage_variants({stage_act(p, "expand"), p.in[kProject].present ? epilogue_act(p) : Act::clip});
}

inline const float* stage_bias(const Problem& p, const Constants& c, int i) {
  return p.in[i].present ? c[i].as<float>() : nullptr;
}

inline Verdict accepts_stages(const Problem& p) {
  if (p.arity() != kArity || p.in[kX].dtype != DType::f32 || p.in[kX].shape.size() != 4)
    return Verdict::no("x is not f32 of rank 4");
  if (p.in[kX].constant || (p.epilogue.add && p.in.back().constant)) return Verdict::no("x or the residual is a constant");
  for (int i = kExpand; i < kArity; ++i)
    if (p.in[i].present && (!p.in[i].constant || p.in[i].dtype != DType::f32))
      return Verdict::no("the weights and biases are not f32 constants");
  if (!p.in[kExpand].present && !p.in[kProject].present) return Verdict::no("there is neither an expansion nor a projection");
  if (p.in[kX].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
  for (const char* stage : {"expand", "depthwise"})
    if (!stage_activation(p, stage)) return Verdict::no("an activation is not in the micro-kernels");
  if (!epilogue_activation(p)) return Verdict::no("activation " + p.epilogue.act + " is not in the micro-kernels");
  if (depthwise_kernel(p).empty()) return Verdict::no("no depthwise micro-kernel in this tier");
  return Verdict::ok();
}

}  // namespace pw::inverted_residual
