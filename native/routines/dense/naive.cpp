// dense/naive: the definition, in plain loops, summed in double.
#include "routines/dense/dense.h"
#include "values/operands.h"

namespace pw {
namespace {

class NaiveDenseKernel : public PieceKernel {
 public:
  NaiveDenseKernel(const Problem& p, const Constants& constants) : shape_(p), operands_(p, constants) {}

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = operands_.get<float>(0, in);
    const auto* w = operands_.get<float>(1, in);
    const auto* bias = operands_.get<float>(2, in);
    auto* y = static_cast<float*>(out[0]);
    team.each(shape_.rows * shape_.columns, 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = i / shape_.columns, column = i % shape_.columns;
        double total = bias ? bias[column] : 0.0;
        for (int64_t k = 0; k < shape_.depth; ++k)
          total += static_cast<double>(x[row * shape_.depth + k]) * w[column * shape_.depth + k];
        y[i] = static_cast<float>(total);
      }
    });
  }

 private:
  DenseShape shape_;
  Operands operands_;
};

// Weights and bias may be values.
class NaiveDense : public Routine {
 public:
  NaiveDense() : Routine({.id = "dense/naive:f32:plain:cpu", .reference = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() < 2 || p.in[0].shape.empty()) return Verdict::no("x has rank 0");
    for (const Tensor& t : p.in)
      if (t.present && t.dtype != DType::f32) return Verdict::no("an input is not f32");
    if (p.in[0].count() == 0) return Verdict::no("x is empty");
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& c) const override {
    return std::make_unique<NaiveDenseKernel>(p, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<NaiveDense>(); }
}  // namespace PW_COLLECT
}  // namespace pw
