// The kernel of conv2/pointwise and dense/gemm: rows of x, contiguous where they lie, times packed weights.
#pragma once
#include "routines/matrix.h"

namespace pw {

// y = act(x @ w.T + bias + residual): x rows x depth, w columns x depth.
struct RowsProblem {
  int64_t rows, depth, columns;
  Constant weights;
  const float* bias;  // may be null
  ActArgs act;
  bool add;
  int threads;
  int64_t chunk;  // rows of the packed weights per pass
};

class RowsKernel : public PieceKernel {
 public:
  RowsKernel(const RowsProblem& p, const GemmF32& kernel) : depth_(p.depth), add_(p.add), areas_{kArea, p.threads} {
    weights_ = pack_convolution(p.weights, 0, p.columns, p.depth, 1, kernel.columns);
    bias_ = pack_bias(p.bias, p.columns, kernel.columns);
    product_.kernel = &kernel;
    product_.b = weights_->as<float>();
    product_.bias = bias_.as<float>();
    product_.act = p.act;
    product_.rows = p.rows;
    product_.columns = p.columns;
    product_.taps = 1;
    product_.depth = p.depth;
    product_.chunk = std::min(p.chunk, p.depth);
    product_.c_row = p.columns;
    product_.c_group = 16;
    product_.blocking = block(product_.row_tiles(), product_.panels(), product_.chunk * kernel.columns * 4,
                              kernel.rows * p.depth * 4, p.threads);
    if (product_.row_tiles() == 1) {
      // One tile of rows: the blocks are runs of panels, read once, one after another.
      product_.blocking.panels = std::max<int64_t>(1, divide_up(product_.panels(), 8 * p.threads));
      product_.blocking.panel_blocks = divide_up(product_.panels(), product_.blocking.panels);
    }
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_->bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto** pointers = areas_.own<const float*>(workspace, team);
    walk(product_, static_cast<float*>(out[0]), add_ ? static_cast<const float*>(in[1]) : nullptr, pointers, team,
         [&](int64_t row, int64_t rows, const float** to) {
           for (int64_t i = 0; i < product_.kernel->rows; ++i) to[i] = x + (row + std::min(i, rows - 1)) * depth_;
         });
  }

 private:
  static constexpr int64_t kArea = 256;  // bytes of row pointers per thread: up to 32 rows
  int64_t depth_;
  bool add_;
  ThreadAreas areas_;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  Product product_{};
};

}  // namespace pw
