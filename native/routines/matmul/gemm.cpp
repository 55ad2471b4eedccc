// matmul/gemm: batches of products; b is packed into panels, when the kernel is prepared or, where it is a value, by
// the team at the start of every run.
#include <cstring>

#include "products/estimates.h"
#include "routines/matmul/matmul.h"
#include "values/operands.h"

namespace pw {
namespace {

class MatmulGemmKernel : public Kernel {
 public:
  MatmulGemmKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : operands_(p, constants), a_shape_(p.in[0].shape), b_shape_(p.in[1].shape), a_constant_(p.in[0].constant),
        residual_(p.residual()), areas_{kArea, p.threads}, threads_(p.threads) {
    const GemmF32& kernel = gemm_kernel(variant);
    const MatmulRun shape = at(a_shape_.data(), b_shape_.data());
    bias_ = pack_bias(nullptr, shape.columns, kernel.columns);
    product_.kernel = &kernel;
    product_.bias = bias_.as<float>();
    product_.act = *epilogue_activation(p);
    product_.taps = 1;
    product_.c_group = 16;
    size(product_, shape);
    if (p.in[1].constant) {
      packed_ = pack_constant(constants[1], shape);
    } else {
      packed_floats_ = shape.b_matrices * product_.panels() * shape.depth * kernel.columns;
    }
  }

  // Where b is a value its panels come first.
  int64_t phases() const override { return packed_ ? 1 : 2; }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(packed_floats_) * 4 + areas_.total();
  }
  size_t packed_bytes() const override { return packed_ ? packed_->bytes() : 0; }
  // A constant has its sizes, and so has what they are those of: depth and columns of b, all but the columns of a.
  bool open(size_t port, size_t axis) const override {
    if (a_constant_) return false;
    if (!packed_) return true;
    const size_t last = a_shape_.size() - 1;
    return port == 0 ? axis != last : b_shape_.size() < 2 || a_shape_.size() < b_shape_.size() ? false : axis != last;
  }

  int run(const Context& c) noexcept override {
    MatmulRun shape = at(operands_.sizes(0, c.in_sizes, a_shape_), operands_.sizes(1, c.in_sizes, b_shape_));
    // A sum of no terms is that of one product of zeros.
    static constexpr float kZero = 0;
    const bool nothing = shape.depth == 0;
    if (nothing) shape.depth = 1;
    Product product = product_;
    size(product, shape);
    const auto* a = operands_.get<float>(0, c.in);
    const auto* residual = operands_.get<float>(residual_, c.in);
    auto* y = static_cast<float*>(c.out[0]);
    auto* own = static_cast<float*>(c.workspace);
    auto** pointers = areas_.own<const float*>(own + packed_floats_, c.team);
    const float* panels = packed_ ? packed_->as<float>() : own;
    const int64_t panel = shape.depth * product.kernel->columns, matrix = product.panels() * panel;
    if (!packed_ && c.team.phase == 0) {
      const auto* b = operands_.get<float>(1, c.in);
      const int64_t all = shape.b_matrices * product.panels();
      c.team.each(all, std::max<int64_t>(1, all / (8 * c.team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
          if (nothing) std::fill(own + i * panel, own + (i + 1) * panel, 0.0f);
          else pack_panel(b, i, shape, own + i * panel);
      });
      return 0;
    }
    const int64_t blocks = product.blocking.count(), results = shape.rows * shape.columns;
    // Small products are taken several at a time.
    const int64_t count = shape.batch * blocks, grain = std::max<int64_t>(1, count / (16 * c.team.count));
    c.team.each(count, grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / blocks;
        const auto [of_a, of_b] = shape.operands(n);
        const float* rows = a + of_a * shape.rows * shape.depth;
        Product p = product;
        p.b = panels + of_b * matrix;
        walk_block(p, i % blocks, y + n * results, residual ? residual + n * results : nullptr, pointers,
                   [&](int64_t row, int64_t valid, const float** to) {
                     for (int64_t r = 0; r < p.kernel->rows; ++r)
                       to[r] = nothing ? &kZero : rows + (row + std::min(r, valid - 1)) * shape.depth;
                   });
      }
    });
    return 0;
  }

 private:
  static constexpr int64_t kArea = 256;  // bytes of row pointers per thread: up to 32 rows

  MatmulRun at(const int64_t* a, const int64_t* b) const { return {a, a_shape_.size(), b, b_shape_.size()}; }

  // Makes `p` the product of these sizes.
  void size(Product& p, const MatmulRun& shape) const {
    p.rows = shape.rows;
    p.columns = p.c_row = shape.columns;
    p.depth = shape.depth;
    p.chunk = p.row_tiles() == 1 ? shape.depth : even_part(shape.depth, 512);
    block(p, threads_);
  }

  std::shared_ptr<const Buffer> pack_constant(const Constant& b, const MatmulRun& shape) const {
    const std::string key = "matmul/" + std::to_string(shape.b_matrices) + "/" + std::to_string(shape.depth) + "/" +
                            std::to_string(shape.columns) + "/" + std::to_string(product_.kernel->columns);
    const int64_t all = shape.b_matrices * product_.panels(), panel = shape.depth * product_.kernel->columns;
    const size_t bytes = static_cast<size_t>(all * panel) * 4;
    auto fill = [&] {
      Buffer packed(bytes);
      float* to = packed.as<float>();
      parallel_for(all, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) pack_panel(b.as<float>(), i, shape, to + i * panel);
      });
      return packed;
    };
    return shared_packing(b.id, key, fill, bytes);
  }

  // Panel `index`, counted through the matrices of b: columns of b, zeros past the last one.
  void pack_panel(const float* b, int64_t index, const MatmulRun& shape, float* to) const {
    const int64_t tile = product_.kernel->columns, panels = divide_up(shape.columns, tile), matrix = index / panels;
    const int64_t first = index % panels * tile, width = std::min(tile, shape.columns - first);
    const float* from = b + matrix * shape.depth * shape.columns + first;
    if (width < tile) std::memset(to, 0, static_cast<size_t>(shape.depth * tile) * 4);
    for (int64_t k = 0; k < shape.depth; ++k, from += shape.columns, to += tile)
      std::memcpy(to, from, static_cast<size_t>(width) * 4);
  }

  Operands operands_;
  Dims a_shape_, b_shape_;
  bool a_constant_;
  int residual_;
  ThreadAreas areas_;
  int threads_;
  int64_t packed_floats_ = 0;  // of all panels in the workspace, at the largest sizes
  std::shared_ptr<const Buffer> packed_;
  Buffer bias_;
  Product product_{};
};

class MatmulGemm : public Routine, public Estimating {
 public:
  MatmulGemm() : Routine({.id = "matmul/gemm:f32:plain:cpu", .version = 2, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p); !v) return v;
    if (gemm_variants(Layout::plain, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::plain, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const MatmulSizes s(p);
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    Estimate e = product_estimate({.rows = number(s.rows), .depth = number(s.depth), .columns = number(s.columns),
                                   .count = number(s.batch())}, variant);
    if (p.in[1].constant) return e;
    // Its panels are written and read once more.
    const double packed = number(p.in[1].count()) * 4;
    e.move(2 * packed, packed);
    e.phases = 2;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<MatmulGemmKernel>(p, variant, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<MatmulGemm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
