// transpose of values of any element type.
#include "routines/shaping/moves.h"
#include "routines/shaping/permute.h"
#include "ukernels/kinds/transpose_f32.h"
#include "ukernels/kinds/transpose_u8.h"

namespace pw {
namespace {

// As the micro-kernels of 1 and 4 bytes, in blocks that stay in the first cache.
template <class T>
struct TransposeBlocks {
  void run(const T* x, int64_t x_row, T* y, int64_t y_row, int64_t rows, int64_t columns) const noexcept {
    constexpr int64_t kBlock = 64 / sizeof(T);
    for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
      for (int64_t c0 = 0; c0 < columns; c0 += kBlock) {
        const int64_t r1 = std::min(rows, r0 + kBlock), c1 = std::min(columns, c0 + kBlock);
        for (int64_t c = c0; c < c1; ++c)
          for (int64_t r = r0; r < r1; ++r) y[c * y_row + r] = x[r * x_row + c];
      }
  }
};

class Permute : public Mover {
 public:
  explicit Permute(Layout images) : Mover("transpose", "permute", images, false) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().empty()) return Verdict::no("its input is a constant");
    return Mover::accepts(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    static const TransposeBlocks<uint16_t> two{};
    static const TransposeBlocks<uint64_t> eight{};
    switch (size_of(p.in[0].dtype)) {
      case 1:
        return std::make_unique<PermuteKernel<uint8_t, TransposeU8>>(best_ukernel<TransposeU8>(PW_KIND_TRANSPOSE_U8), images_, p);
      case 2: return std::make_unique<PermuteKernel<uint16_t, TransposeBlocks<uint16_t>>>(two, images_, p);
      case 4:
        return std::make_unique<PermuteKernel<float, TransposeF32>>(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32), images_, p);
      default: return std::make_unique<PermuteKernel<uint64_t, TransposeBlocks<uint64_t>>>(eight, images_, p);
    }
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : kRowsAndNhwc) c.add<Permute>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
