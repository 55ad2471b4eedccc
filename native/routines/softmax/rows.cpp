// softmax and log_softmax along an axis that is contiguous in memory.
#include "spi/estimate.h"
#include "ukernels/kinds/reduce_f32.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

class SoftmaxKernel : public PieceKernel {
 public:
  SoftmaxKernel(const SoftmaxF32& kernel, size_t rank, size_t axis, bool log, OpenAxes open)
      : kernel_(kernel), rank_(rank), axis_(axis), log_(log), open_(std::move(open)) {}
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }
  int run(const Context& c) noexcept override {
    // With an axis of length 1 every element is a row of its own.
    const int64_t* size = c.in_sizes[0];
    const int64_t columns = size[axis_];
    int64_t rows = 1;
    for (size_t i = 0; i < rank_; ++i) rows *= i == axis_ ? 1 : size[i];
    if (columns == 0) return 0;
    // A row costs several times what a copy of it does.
    in_pieces(c.team, rows, 1, 4 * rows * columns, [&](int64_t first, int64_t last) {
      kernel_.run(static_cast<const float*>(c.in[0]) + first * columns, static_cast<float*>(c.out[0]) + first * columns,
                  last - first, columns, log_);
    });
    return 0;
  }

 private:
  const SoftmaxF32& kernel_;
  size_t rank_, axis_;
  bool log_;
  OpenAxes open_;
};

class Softmax : public VectorRoutine, public Estimating {
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
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.01);  // exponentials
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<SoftmaxKernel>(variant_ukernel<SoftmaxF32>(kind_, variant), p.in[0].shape.size(),
                                           static_cast<size_t>(axis_of(p)), p.kind == "log_softmax", ports(p));
  }

 private:
  static int64_t axis_of(const Problem& p) {
    const int64_t rank = static_cast<int64_t>(p.in[0].shape.size()), axis = p.integer("axis");
    return axis < 0 ? axis + rank : axis;
  }
  Group group(const Problem& p) const { return group_of(layout_, p.in[0].shape, {axis_of(p)}); }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"softmax", "log_softmax"})
    for (Layout layout : kAllLayouts) c.add<Softmax>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
