// matmul of f64 and of integers, whose products and sums wrap: blocks of rows of a meet each row of b.
#include "routines/matmul/matmul.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// The type in which products of integers wrap without promotion.
template <class T>
using Wide = std::conditional_t<kFloating<T>, T, std::conditional_t<(sizeof(T) > 4), uint64_t, uint32_t>>;

template <class T>
class LoopsKernel : public AnyKernel {
 public:
  LoopsKernel(const Problem& p, const Constants& constants) : AnyKernel(p, constants, Layout::nchw) {}
  int run(const Context& c) noexcept override {
    const Operand a = operands_.in(0, c), b = operands_.in(1, c);
    const MatmulRun shape(a.size, static_cast<size_t>(a.rank), b.size, static_cast<size_t>(b.rank));
    const int64_t blocks = divide_up(shape.rows, kRows), all = shape.batch * blocks;
    auto* y = static_cast<T*>(c.out[0]);
    in_pieces(c.team, all, 1, shape.batch * shape.rows * shape.columns * std::max<int64_t>(1, shape.depth / 4), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / blocks, row = i % blocks * kRows;
        const auto [of_a, of_b] = shape.operands(n);
        block(a.as<T>() + (of_a * shape.rows + row) * shape.depth, b.as<T>() + of_b * shape.depth * shape.columns,
              y + (n * shape.rows + row) * shape.columns, std::min(kRows, shape.rows - row), shape);
      }
    });
    return 0;
  }

 private:
  static constexpr int64_t kRows = 4, kColumns = 512;
  static void block(const T* a, const T* b, T* y, int64_t rows, const MatmulRun& shape) {
    std::fill(y, y + rows * shape.columns, T{});
    for (int64_t c = 0; c < shape.columns; c += kColumns) {
      const int64_t n = std::min(kColumns, shape.columns - c);
      for (int64_t k = 0; k < shape.depth; ++k) {
        const T* from = b + k * shape.columns + c;
        for (int64_t r = 0; r < rows; ++r) {
          const auto factor = static_cast<Wide<T>>(a[r * shape.depth + k]);
          T* to = y + r * shape.columns + c;
          for (int64_t j = 0; j < n; ++j)
            to[j] = static_cast<T>(static_cast<Wide<T>>(to[j]) + factor * static_cast<Wide<T>>(from[j]));
        }
      }
    }
  }
};

class Plain : public AnyRoutine {
 public:
  Plain() : AnyRoutine("matmul", "loops") {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2 || p.in[0].shape.empty() || p.in[1].shape.empty()) return Verdict::no("a and b are not two arrays");
    if (std::max(p.in[0].shape.size(), p.in[1].shape.size()) > kMostMatmulRank)
      return Verdict::no("the rank is more than " + std::to_string(kMostMatmulRank));
    const DType t = p.in[0].dtype;
    if (t == DType::f16 || t == DType::bf16 || t == DType::boolean) return Verdict::no("the element type is a half or bool");
    if (auto verdict = not_f32(p); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return with_type(p.in[0].dtype, [&](auto tag) -> std::unique_ptr<Kernel> {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_arithmetic_v<T>) return std::make_unique<LoopsKernel<T>>(p, constants);
      else return nullptr;
    });
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Plain>(); }
}  // namespace PW_COLLECT

}  // namespace pw
