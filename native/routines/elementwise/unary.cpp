// Functions of one element over contiguous memory.
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

template <class T>
class UnaryKernel : public PieceKernel {
 public:
  UnaryKernel(const ActivationOf<T>& kernel, ActArgs args, size_t rank, OpenAxes open)
      : kernel_(kernel), args_(args), rank_(rank), open_(std::move(open)) {}
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }
  int run(const Context& c) noexcept override {
    int64_t count = 1;
    for (size_t i = 0; i < rank_; ++i) count *= c.out_sizes[0][i];
    in_pieces(c.team, count, 1024, count, [&](int64_t first, int64_t last) {
      kernel_.run(&args_, static_cast<const T*>(c.in[0]) + first, static_cast<T*>(c.out[0]) + first, last - first);
    });
    return 0;
  }

 private:
  const ActivationOf<T>& kernel_;
  ActArgs args_;
  size_t rank_;
  OpenAxes open_;
};

template <class T>
class Unary : public VectorRoutine {
 public:
  Unary(const std::string& layer, Layout layout)
      : VectorRoutine(layer, "vector", layout, stored_kind<T>(PW_KIND_ACTIVATION), false, kStored<T>) {
    card_.version = 2;
  }
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (!activation(p)) return Verdict::no("the parameters are outside of what the micro-kernel computes");
    return this->basics(p, p.out[0]);
  }
  std::vector<std::string> variants(const Problem& p) const override {
    return ukernel_names(this->kind_, activation(p)->act);
  }
  Ports ports(const Problem& p) const override { return this->in_place(VectorRoutine::ports(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<UnaryKernel<T>>(variant_ukernel<ActivationOf<T>>(this->kind_, variant), *activation(p),
                                            p.out[0].shape.size(), ports(p));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const ActivationKind* known : activation_kinds(PW_KIND_ACTIVATION_F32)) {
    for (Layout layout : kAllLayouts) c.add<Unary<float>>(known->kind, layout);
    if (known->f32_only) continue;
    for (Layout layout : kNarrowLayouts)
      for_each_half([&](auto half) { c.add<Unary<decltype(half)>>(known->kind, layout); });
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
