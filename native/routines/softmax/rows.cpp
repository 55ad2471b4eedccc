// softmax and log_softmax along an axis that is contiguous in memory.
#include "ukernels/kinds/reduce_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

class SoftmaxKernel : public PieceKernel {
 public:
  SoftmaxKernel(const SoftmaxF32& kernel, int64_t rows, int64_t columns, bool log)
      : kernel_(kernel), rows_(rows), columns_(columns), log_(log) {}
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    // A row costs several times what a copy of it does.
    in_pieces(team, rows_, 1, 4 * rows_ * columns_, [&](int64_t first, int64_t last) {
      kernel_.run(static_cast<const float*>(in[0]) + first * columns_, static_cast<float*>(out[0]) + first * columns_,
                  last - first, columns_, log_);
    });
  }

 private:
  const SoftmaxF32& kernel_;
  int64_t rows_, columns_;
  bool log_;
};

class Softmax : public VectorRoutine {
 public:
  Softmax(const std::string& layer, Layout layout) : VectorRoutine(layer, "rows", layout, PW_KIND_SOFTMAX_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (p.in[0].shape.empty()) return Verdict::no("the input has no axis");
    const Group g = group(p);
    if (!g.together || g.inner != 1) return Verdict::no("the axis is not contiguous in memory");
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override { return in_place(VectorRoutine::ports(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    const Group g = group(p);
    return std::make_unique<SoftmaxKernel>(variant_ukernel<SoftmaxF32>(kind_, variant), g.outer, g.length,
                                           p.kind == "log_softmax");
  }

 private:
  // With an axis of length 1 every element is a row of its own.
  Group group(const Problem& p) const {
    const int64_t rank = static_cast<int64_t>(p.in[0].shape.size()), axis = p.integer("axis");
    return group_of(layout_, p.in[0].shape, {axis < 0 ? axis + rank : axis});
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"softmax", "log_softmax"})
    for (Layout layout : kAllLayouts) c.add<Softmax>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
