// The kernel of conv2/pointwise and dense/gemm: rows of x, contiguous where they lie, times packed weights.
#pragma once
#include "products/matrix.h"
#include "values/stored.h"

namespace pw {

// Which axes of x, and of y, make up the rows: all but that of depth and columns.
struct RowAxes {
  size_t rank = 0, inner = 0;

  // The last axis of a matrix, the channels of an image.
  static RowAxes of(const Dims& shape, size_t inner) { return {shape.size(), inner}; }
  bool open(size_t axis) const { return axis < rank && axis != inner; }
  int64_t rows(const int64_t* sizes) const {
    int64_t rows = 1;
    for (size_t axis = 0; axis < rank; ++axis) rows *= axis == inner ? 1 : sizes[axis];
    return rows;
  }
};

// y = act(x @ w.T + bias + residual): x rows x depth, w columns x depth.
struct RowsProblem {
  int64_t rows, depth, columns;
  Constant weights;
  const float* bias;  // may be null
  ActArgs act;
  bool add;
  int threads;
  int64_t chunk;  // rows of the packed weights per pass
  RowAxes axes;
};

// The weights packed and the product, all but its blocking.
class PackedRows : public PieceKernel {
 public:
  size_t packed_bytes() const override { return weights_->bytes(); }

 protected:
  PackedRows(const RowsProblem& p, const GemmF32& kernel) : add_(p.add), axes_(p.axes) {
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
    product_.chunk = even_part(p.depth, p.chunk);
    product_.c_row = p.columns;
    product_.c_group = 16;
  }
  int64_t panel_bytes() const { return product_.chunk * product_.kernel->columns * 4; }

  static constexpr int64_t kPointers = 256;  // bytes of row pointers per thread: up to 32 rows
  bool add_;
  RowAxes axes_;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  Product product_{};
};

class RowsKernel : public PackedRows {
 public:
  RowsKernel(const RowsProblem& p, const GemmF32& kernel)
      : PackedRows(p, kernel), areas_{kPointers, p.threads}, threads_(p.threads) {
    size(product_, p.rows);
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    return product_.from_panel(product_.blocking.first_panel(index, count));
  }

  bool open(size_t, size_t axis) const override { return axes_.open(axis); }

  int run(const Context& c) noexcept override {
    Product product = product_;
    const int64_t rows = axes_.rows(c.in_sizes[0]);
    if (rows == 0) return 0;
    if (rows != product.rows) size(product, rows);
    walk(product, static_cast<float*>(c.out[0]), add_ ? static_cast<const float*>(c.in[1]) : nullptr,
         areas_.own<const float*>(c.workspace, c.team), c.team, rows_of(static_cast<const float*>(c.in[0]), product));
    return 0;
  }

 private:
  // Makes `p` the product of so many rows.
  void size(Product& p, int64_t rows) const {
    p.rows = rows;
    block(p, threads_);
    if (p.row_tiles() == 1) {
      // One tile of rows: the blocks are runs of panels, read once, one after another.
      p.blocking.panels = std::max<int64_t>(1, divide_up(p.panels(), 8 * threads_));
      p.blocking.panel_blocks = divide_up(p.panels(), p.blocking.panels);
    }
  }

  ThreadAreas areas_;
  int threads_;
};

// The same where x, the residual and y lie in 16 bits, as T: some rows at a time are widened into the thread's area, the
// product is made there in floats, and is rounded once, on its way out.
template <class T>
class StoredRowsKernel : public PackedRows {
 public:
  StoredRowsKernel(const RowsProblem& p, const GemmF32& kernel) : PackedRows(p, kernel), areas_{0, p.threads} {
    // The rows stay in an eighth of L2, the panels that pass over them in half of it; every thread gets several runs.
    const int64_t floats = p.depth + (add_ ? 2 : 1) * p.columns, l2 = static_cast<int64_t>(cpu().l2);
    const int64_t fit = std::min(l2 / 8 / (4 * floats), p.threads > 1 ? divide_up(p.rows, 4 * p.threads) : p.rows);
    run_ = std::max<int64_t>(1, fit / kernel.rows) * kernel.rows;
    const int64_t panels = product_.panels(), blocks = divide_up(panels, std::max<int64_t>(1, l2 / 2 / panel_bytes()));
    product_.blocking = {run_ / kernel.rows, divide_up(panels, blocks), 1, blocks};
    areas_.bytes = kPointers + round_up(run_ * floats * 4, 64);
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return product_.from_panel(0); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    char* own = areas_.own<char>(workspace, team);
    auto* x = reinterpret_cast<float*>(own + kPointers);
    float *y = x + run_ * product_.depth, *residual = add_ ? y + run_ * product_.columns : nullptr;
    team.each(divide_up(product_.rows, run_), 1, [&](int64_t index, int64_t) {
      Product part = product_;
      part.rows = std::min(run_, product_.rows - index * run_);
      const int64_t from = index * run_ * part.depth, to = index * run_ * part.columns, n = part.rows * part.columns;
      convert_.widen(&static_cast<const T*>(in[0])[from].bits, x, part.rows * part.depth);
      if (add_) convert_.widen(&static_cast<const T*>(in[1])[to].bits, residual, n);
      for (int64_t b = 0; b < part.blocking.panel_blocks; ++b)
        walk_block(part, b, y, residual, reinterpret_cast<const float**>(own), rows_of(x, part));
      convert_.narrow(y, &static_cast<T*>(out[0])[to].bits, n);
    });
  }

 private:
  const Convert& convert_ = best_ukernel<Convert>(stored_kind<T>(PW_KIND_CONVERT));
  ThreadAreas areas_;
  int64_t run_ = 1;  // rows
};

}  // namespace pw
