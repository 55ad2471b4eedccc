// Products of f32 values by quantised weights, where every row of the values finds its own scale when it comes. The arithmetic
// is in docs/accuracy.md and ukernels/kinds/dynamic_u8.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "products/rows.h"
#include "spi/estimate.h"
#include "ukernels/kinds/dynamic_u8.h"

namespace pw {

// y = act(x @ w.T + bias + residual): x rows x depth, w columns x depth, all in f32.
struct DynamicProblem {
  int64_t rows, depth, columns;
  Constant weights;
  const float* bias;  // may be null
  ActArgs act;
  bool add;
  int threads;
  RowAxes axes;

  // Weights are input 1 of the problem; `inner` is the axis of x that is no axis of rows.
  DynamicProblem(const Problem& p, const Constants& constants, int64_t depth, int64_t columns, size_t inner);
};

// The conditions beside those on x, w and the layout: sums of `depth` terms that fit, micro-kernels that apply the epilogue.
Verdict accepts_dynamic(const Problem& p, int64_t depth);

// Tiles of rows by packed weights: the micro-kernels of kind gemm_u8, and the kernel on one of them.
// What such a product does: rows are rounded, and products of bytes are added up.
Estimate dynamic_estimate(int64_t rows, int64_t depth, int64_t columns, const std::string& variant, bool gemv);

std::vector<std::string> dynamic_gemm_variants();
std::unique_ptr<Kernel> dynamic_gemm(const DynamicProblem& problem, const std::string& variant);
// Rows by weights as they lie; as many rows as kMostGemvRows.
std::vector<std::string> dynamic_gemv_variants();
std::unique_ptr<Kernel> dynamic_gemv(const DynamicProblem& problem, const std::string& variant);

}  // namespace pw
