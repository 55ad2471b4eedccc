// softmax and log_softmax along an axis with others behind it in memory: columns that lie side by side go together.
#include "spi/estimate.h"
#include "ukernels/kinds/reduce_f32.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

constexpr int64_t kColumns = 64;

class SoftmaxColumnsKernel : public PieceKernel {
 public:
  SoftmaxColumnsKernel(const SoftmaxF32& kernel, Layout layout, size_t rank, size_t axis, bool log, OpenAxes open)
      : kernel_(kernel), layout_(layout_of(layout, rank)), rank_(rank), axis_(axis), log_(log), open_(std::move(open)) {}
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }
  int run(const Context& c) noexcept override {
    const int64_t *size = c.in_sizes[0], length = size[axis_];
    int64_t outer = 1, inner = 1;
    bool behind = false;
    for (size_t i = 0; i < rank_; ++i) {
      const auto axis = static_cast<size_t>(axis_in_memory(layout_, static_cast<int>(i)));
      if (axis == axis_) behind = true;
      else (behind ? inner : outer) *= size[axis];
    }
    if (outer * length * inner == 0) return 0;
    const int64_t blocks = (inner + kColumns - 1) / kColumns;
    in_pieces(c.team, outer * blocks, 1, 4 * outer * length * inner, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t from = i % blocks * kColumns, at = i / blocks * length * inner + from;
        kernel_.columns(static_cast<const float*>(c.in[0]) + at, static_cast<float*>(c.out[0]) + at, length,
                        std::min(kColumns, inner - from), inner, log_);
      }
    });
    return 0;
  }

 private:
  const SoftmaxF32& kernel_;
  Layout layout_;
  size_t rank_, axis_;
  bool log_;
  OpenAxes open_;
};

class SoftmaxColumns : public VectorRoutine, public Estimating {
 public:
  SoftmaxColumns(const std::string& layer, Layout layout) : VectorRoutine(layer, "columns", layout, PW_KIND_SOFTMAX_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (p.in[0].shape.empty()) return Verdict::no("the input has no axis");
    if (group_of(layout_, p.in[0].shape, {axis_of(p)}).inner == 1) return Verdict::no("the axis is the last one in memory");
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override { return in_place(VectorRoutine::ports(p)); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    // Exponentials, in vectors along what lies inside of the axis.
    const double inner = static_cast<double>(group_of(layout_, p.in[0].shape, {axis_of(p)}).inner);
    return Estimate::at(0.015 * std::min(1.0, inner / 16));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<SoftmaxColumnsKernel>(variant_ukernel<SoftmaxF32>(kind_, variant), layout_, p.in[0].shape.size(),
                                                  static_cast<size_t>(axis_of(p)), p.kind == "log_softmax", ports(p));
  }

 private:
  static int64_t axis_of(const Problem& p) {
    const int64_t rank = static_cast<int64_t>(p.in[0].shape.size()), axis = p.integer("axis");
    return axis < 0 ? axis + rank : axis;
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"softmax", "log_softmax"})
    for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) c.add<SoftmaxColumns>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
