// dense in f64: the weights are transposed when the kernel is prepared, and rows of them are added up.
#include "products/matrix.h"
#include "values/strided.h"

namespace pw {
namespace {

class LoopsKernel : public AnyKernel {
 public:
  LoopsKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), outputs_(p.in[1].shape[0]), depth_(p.in[1].shape[1]), rank_(p.in[0].shape.size()),
        has_bias_(p.arity() > 2 && p.has(2)) {
    const size_t bytes = static_cast<size_t>(outputs_ * depth_) * 8;
    const auto* w = constants[1].as<double>();
    weights_ = shared_packing(constants[1].id, "dense/transposed", [&] {
      Buffer packed(bytes);
      auto* to = packed.as<double>();
      for (int64_t o = 0; o < outputs_; ++o)
        for (int64_t k = 0; k < depth_; ++k) to[k * outputs_ + o] = w[o * depth_ + k];
      return packed;
    }, bytes);
  }
  size_t packed_bytes() const override { return weights_->bytes(); }
  // The sizes of the weights stay.
  bool open(size_t, size_t axis) const override { return axis + 1 < rank_; }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const double* bias = has_bias_ ? operands_.in(2, c).as<double>() : nullptr;
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < rank_; ++i) rows *= x.size[i];
    const int64_t blocks = divide_up(rows, kRows);
    in_pieces(c.team, blocks, 1, rows * outputs_ * std::max<int64_t>(1, depth_ / 4), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = i * kRows;
        block(x.as<double>() + row * depth_, bias, static_cast<double*>(c.out[0]) + row * outputs_, std::min(kRows, rows - row));
      }
    });
    return 0;
  }

 private:
  static constexpr int64_t kRows = 4, kColumns = 512;
  void block(const double* x, const double* bias, double* y, int64_t rows) const {
    const auto* w = weights_->as<double>();
    for (int64_t c = 0; c < outputs_; c += kColumns) {
      const int64_t n = std::min(kColumns, outputs_ - c);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < n; ++j) y[r * outputs_ + c + j] = bias ? bias[c + j] : 0.0;
      for (int64_t k = 0; k < depth_; ++k)
        for (int64_t r = 0; r < rows; ++r) {
          const double factor = x[r * depth_ + k];
          const double* from = w + k * outputs_ + c;
          double* to = y + r * outputs_ + c;
          for (int64_t j = 0; j < n; ++j) to[j] += factor * from[j];
        }
    }
  }

  int64_t outputs_, depth_;
  size_t rank_;
  bool has_bias_;
  std::shared_ptr<const Buffer> weights_;
};

class Plain : public AnyRoutine {
 public:
  Plain() : AnyRoutine("dense", "loops") {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() < 2 || p.in[0].dtype != DType::f64) return Verdict::no("the element type is not f64");
    if (!p.in[1].constant || p.in[0].constant) return Verdict::no("x is a constant, or the weights are none");
    if (p.in[1].count() == 0) return Verdict::no("the weights are empty");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<LoopsKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Plain>(); }
}  // namespace PW_COLLECT

}  // namespace pw
