// transpose in general: dimensions that stay neighbours are merged, and what is left is copied in runs or transposed in
// blocks.
#include <cstring>

#include "routines/vector.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {
namespace {

struct Dim {
  int64_t size, x, y;  // strides in floats
};

// All starts of the loops over some dimensions.
std::vector<std::pair<int64_t, int64_t>> starts_of(const std::vector<Dim>& dims) {
  std::vector<std::pair<int64_t, int64_t>> starts{{0, 0}};
  for (const Dim& d : dims) {
    std::vector<std::pair<int64_t, int64_t>> next;
    next.reserve(starts.size() * static_cast<size_t>(d.size));
    for (const auto& [x, y] : starts)
      for (int64_t i = 0; i < d.size; ++i) next.push_back({x + i * d.x, y + i * d.y});
    starts = std::move(next);
  }
  return starts;
}

class PermuteKernel : public PieceKernel {
 public:
  // Dimensions in the output's order.
  PermuteKernel(const TransposeF32& kernel, std::vector<Dim> dims) : kernel_(kernel) {
    if (dims.empty()) dims.push_back({1, 1, 1});
    const Dim inner = dims.back();
    dims.pop_back();
    if (inner.x == 1) {
      run_ = inner.size;
      starts_ = starts_of(dims);
      return;
    }
    // `inner` runs along the output; some other dimension runs along the input.
    size_t along = dims.size();
    for (size_t i = 0; i < dims.size(); ++i)
      if (dims[i].x == 1) along = i;
    rows_ = inner.size;
    x_row_ = inner.x;
    if (along < dims.size()) {
      columns_ = dims[along].size;
      y_row_ = dims[along].y;
      dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(along));
    }
    starts_ = starts_of(dims);
  }
  size_t packed_bytes() const override { return starts_.size() * sizeof(starts_[0]); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const float* x = static_cast<const float*>(in[0]);
    float* y = static_cast<float*>(out[0]);
    const int64_t n = static_cast<int64_t>(starts_.size());
    if (run_ > 0) {
      share_rows(team, 1, n, run_, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        for (int64_t r = r0; r < r1; ++r) {
          const auto [from, to] = starts_[static_cast<size_t>(r)];
          std::memcpy(y + to + c0, x + from + c0, static_cast<size_t>(c1 - c0) * 4);
        }
      });
      return;
    }
    // Blocks of columns of every matrix.
    const int64_t block = std::max<int64_t>(64, 4096 / rows_ / 64 * 64), blocks = (columns_ + block - 1) / block;
    in_pieces(team, n * blocks, 1, n * rows_ * columns_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto [from, to] = starts_[static_cast<size_t>(i / blocks)];
        const int64_t c = i % blocks * block, columns = std::min(block, columns_ - c);
        kernel_.run(x + from + c, x_row_, y + to + c * y_row_, y_row_, rows_, columns);
      }
    });
  }

 private:
  const TransposeF32& kernel_;
  std::vector<std::pair<int64_t, int64_t>> starts_;
  int64_t run_ = 0;                             // floats that are contiguous on both sides, 0 = none
  int64_t rows_ = 1, columns_ = 1, x_row_ = 1, y_row_ = 1;  // of each matrix to transpose
};

class Permute : public VectorRoutine {
 public:
  explicit Permute(Layout layout) : VectorRoutine("transpose", "permute", layout, PW_KIND_TRANSPOSE_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.in[0]);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    const auto perm = p.integers("perm");
    const auto in = memory_dims(layout_, p.in[0].shape), out = memory_dims(layout_, p.out[0].shape);
    std::vector<Dim> dims;
    int64_t y = p.out[0].count();
    for (const MemoryDim& d : out) {
      y /= d.size;
      int64_t x = 1;
      for (size_t i = in.size(); i-- > 0 && in[i].logical != perm[static_cast<size_t>(d.logical)];) x *= in[i].size;
      if (d.size == 1) continue;
      if (!dims.empty() && dims.back().x == x * d.size) dims.back() = {dims.back().size * d.size, x, y};
      else dims.push_back({d.size, x, y});
    }
    return std::make_unique<PermuteKernel>(variant_ukernel<TransposeF32>(kind_, variant), std::move(dims));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) c.add<Permute>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
