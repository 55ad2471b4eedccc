// matmul/gemm: batches of products; b is packed into panels, when the kernel is prepared or, where it is a value, by
// the team at the start of every run.
#include <cstring>

#include "products/matrix.h"
#include "routines/matmul/matmul.h"
#include "values/operands.h"

namespace pw {
namespace {

class MatmulGemmKernel : public Kernel {
 public:
  MatmulGemmKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : shape_(p), operands_(p, constants), residual_(p.residual()), areas_{kArea, p.threads} {
    const GemmF32& kernel = gemm_kernel(variant);
    shape_.join_rows();
    bias_ = pack_bias(nullptr, shape_.columns, kernel.columns);
    product_.kernel = &kernel;
    product_.bias = bias_.as<float>();
    product_.act = *epilogue_activation(p);
    product_.rows = shape_.rows;
    product_.columns = shape_.columns;
    product_.taps = 1;
    product_.depth = shape_.depth;
    product_.chunk = product_.row_tiles() == 1 ? shape_.depth : std::min<int64_t>(shape_.depth, 512);
    product_.c_row = shape_.columns;
    product_.c_group = 16;
    product_.blocking = block(product_.row_tiles(), product_.panels(), product_.chunk * kernel.columns * 4,
                              kernel.rows * shape_.depth * 4, p.threads);
    panel_ = shape_.depth * kernel.columns;
    if (p.in[1].constant) {
      packed_ = pack_constant(constants[1]);
    } else {
      packed_floats_ = shape_.b_matrices * product_.panels() * panel_;
    }
  }

  // Where b is a value its panels come first.
  int64_t phases() const override { return packed_ ? 1 : 2; }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(packed_floats_) * 4 + areas_.total();
  }
  size_t packed_bytes() const override { return packed_ ? packed_->bytes() : 0; }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* a = operands_.get<float>(0, in);
    const auto* residual = operands_.get<float>(residual_, in);
    auto* y = static_cast<float*>(out[0]);
    auto* own = static_cast<float*>(workspace);
    auto** pointers = areas_.own<const float*>(own + packed_floats_, team);
    const float* panels = packed_ ? packed_->as<float>() : own;
    const int64_t matrix = product_.panels() * panel_;
    if (!packed_ && team.phase == 0) {
      const auto* b = operands_.get<float>(1, in);
      const int64_t all = shape_.b_matrices * product_.panels();
      return team.each(all, std::max<int64_t>(1, all / (8 * team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) pack_panel(b, i, own + i * panel_);
      });
    }
    const int64_t blocks = product_.blocking.count(), results = shape_.rows * shape_.columns;
    // Small products are taken several at a time.
    const int64_t count = shape_.batch() * blocks, grain = std::max<int64_t>(1, count / (16 * team.count));
    team.each(count, grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / blocks;
        const float* rows = a + shape_.a_index[static_cast<size_t>(n)] * shape_.rows * shape_.depth;
        Product p = product_;
        p.b = panels + shape_.b_index[static_cast<size_t>(n)] * matrix;
        walk_block(p, i % blocks, y + n * results, residual ? residual + n * results : nullptr, pointers,
                   [&](int64_t row, int64_t valid, const float** to) {
                     for (int64_t r = 0; r < p.kernel->rows; ++r)
                       to[r] = rows + (row + std::min(r, valid - 1)) * shape_.depth;
                   });
      }
    });
  }

 private:
  static constexpr int64_t kArea = 256;  // bytes of row pointers per thread: up to 32 rows

  std::shared_ptr<const Buffer> pack_constant(const Constant& b) const {
    const std::string key = "matmul/" + std::to_string(shape_.b_matrices) + "/" + std::to_string(shape_.depth) + "/" +
                            std::to_string(shape_.columns) + "/" + std::to_string(product_.kernel->columns);
    const int64_t all = shape_.b_matrices * product_.panels();
    const size_t bytes = static_cast<size_t>(all * panel_) * 4;
    auto fill = [&] {
      Buffer packed(bytes);
      float* to = packed.as<float>();
      parallel_for(all, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) pack_panel(b.as<float>(), i, to + i * panel_);
      });
      return packed;
    };
    return shared_packing(b.id, key, fill, bytes);
  }

  // Panel `index`, counted through the matrices of b: columns of b, zeros past the last one.
  void pack_panel(const float* b, int64_t index, float* to) const {
    const int64_t tile = product_.kernel->columns, matrix = index / product_.panels();
    const int64_t first = index % product_.panels() * tile, width = std::min(tile, shape_.columns - first);
    const float* from = b + matrix * shape_.depth * shape_.columns + first;
    if (width < tile) std::memset(to, 0, static_cast<size_t>(panel_) * 4);
    for (int64_t k = 0; k < shape_.depth; ++k, from += shape_.columns, to += tile)
      std::memcpy(to, from, static_cast<size_t>(width) * 4);
  }

  MatmulShape shape_;
  Operands operands_;
  int residual_;
  ThreadAreas areas_;
  int64_t panel_ = 0, packed_floats_ = 0;  // floats of a packed panel, and of all in the workspace
  std::shared_ptr<const Buffer> packed_;
  Buffer bias_;
  Product product_{};
};

class MatmulGemm : public Routine {
 public:
  MatmulGemm() : Routine({.id = "matmul/gemm:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_matmul(p); !v) return v;
    if (gemm_variants(Layout::plain, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::plain, epilogue_act(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<MatmulGemmKernel>(p, variant, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<MatmulGemm>(); }
}  // namespace PW_COLLECT
}  // namespace pw
