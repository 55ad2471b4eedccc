// Trigonometric and hyperbolic functions of one float, and their inverses, over contiguous memory.
#include "ukernels/kinds/function_f32.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

class FunctionKernel : public PieceKernel {
 public:
  FunctionKernel(const FunctionF32& kernel, size_t rank, OpenAxes open) : kernel_(kernel), rank_(rank), open_(std::move(open)) {}
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }
  int run(const Context& c) noexcept override {
    int64_t count = 1;
    for (size_t i = 0; i < rank_; ++i) count *= c.out_sizes[0][i];
    in_pieces(c.team, count, 1024, 4 * count, [&](int64_t first, int64_t last) {
      kernel_.run(static_cast<const float*>(c.in[0]) + first, static_cast<float*>(c.out[0]) + first, last - first);
    });
    return 0;
  }

 private:
  const FunctionF32& kernel_;
  size_t rank_;
  OpenAxes open_;
};

class Function : public VectorRoutine {
 public:
  Function(const std::string& layer, Layout layout) : VectorRoutine(layer, "vector", layout, PW_KIND_FUNCTION_F32 + layer) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.out[0]);
  }
  Ports ports(const Problem& p) const override { return in_place(VectorRoutine::ports(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<FunctionKernel>(variant_ukernel<FunctionF32>(kind_, variant), p.out[0].shape.size(), ports(p));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"})
    for (Layout layout : kAllLayouts) c.add<Function>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
