// Reductions over axes that lie side by side in memory: reduce, global_average_pool, global_max_pool.
#include "ukernels/kinds/reduce_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

template <class T>
class ReduceKernel : public PieceKernel {
 public:
  ReduceKernel(const ReduceOf<T>& kernel, Reduce op, float scale, const Group& group)
      : kernel_(kernel), op_(op), scale_(scale), group_(group) {}

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto [outer, length, inner, together] = group_;
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t total = outer * length * inner;
    if (inner == 1) {
      return in_pieces(team, outer, std::max<int64_t>(1, 64 / length), total, [&](int64_t first, int64_t last) {
        const ReduceArgs<T> args{op_, x + first * length, y + first, last - first, length, length, scale_};
        kernel_.rows(&args);
      });
    }
    // Columns in blocks of a cache line, so that few channels are shared out evenly too.
    constexpr int64_t kBlock = 16;
    const int64_t blocks = (inner + kBlock - 1) / kBlock;
    in_pieces(team, outer * blocks, 1, total, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last;) {
        const int64_t o = i / blocks, end = std::min(last, (o + 1) * blocks);
        const int64_t c0 = i % blocks * kBlock, c1 = std::min(inner, c0 + (end - i) * kBlock);
        const ReduceArgs<T> args{op_, x + o * length * inner + c0, y + o * inner + c0, length, c1 - c0, inner, scale_};
        kernel_.columns(&args);
        i = end;
      }
    });
  }

 private:
  const ReduceOf<T>& kernel_;
  Reduce op_;
  float scale_;
  Group group_;
};

struct Operation {
  Reduce op;
  bool mean;
};
bool operation(const Problem& p, Operation& found) {
  const std::string_view word = p.kind == "reduce" ? p.word("op") : p.kind == "global_max_pool" ? "max" : "mean";
  found = {word == "max" ? Reduce::max : word == "min" ? Reduce::min : Reduce::sum, word == "mean"};
  return word == "sum" || word == "mean" || word == "max" || word == "min";
}

std::vector<int64_t> axes_of(const Problem& p) {
  if (p.kind != "reduce") return {2, 3};
  const int64_t rank = static_cast<int64_t>(p.in[0].shape.size());
  std::vector<int64_t> axes = p.integers("axes");
  if (axes.empty())
    for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
  for (int64_t& a : axes) a += a < 0 ? rank : 0;
  return axes;
}

template <class T>
class Reduction : public VectorRoutine {
 public:
  Reduction(const std::string& layer, Layout layout)
      : VectorRoutine(layer, "groups", layout, stored_kind<T>(PW_KIND_REDUCE), false, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    Operation found;
    if (!operation(p, found)) return Verdict::no("operation " + std::string(p.word("op")) + " has no micro-kernel");
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = this->basics(p, p.in[0]); !verdict) return verdict;
    const auto axes = axes_of(p);
    if (!group_of(this->layout_, p.in[0].shape, axes).together)
      return Verdict::no("the axes do not lie side by side in memory");
    if (p.out[0].shape.size() != p.in[0].shape.size()) {
      // The output is row-major, so what is left must be in that order.
      Dims left = p.in[0].shape;
      for (int64_t a : axes) left[static_cast<size_t>(a)] = 1;
      int previous = -1;
      for (const MemoryDim& d : memory_dims(this->layout_, p.in[0].shape)) {
        if (d.size == 1 || left[static_cast<size_t>(d.logical)] == 1) continue;
        if (d.logical < previous) return Verdict::no("without the axes the output is not row-major");
        previous = d.logical;
      }
    }
    return Verdict::ok();
  }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    Operation found;
    operation(p, found);
    const Group group = group_of(this->layout_, p.in[0].shape, axes_of(p));
    const float scale = found.mean ? static_cast<float>(1.0 / static_cast<double>(group.length)) : 1.0f;
    return std::make_unique<ReduceKernel<T>>(variant_ukernel<ReduceOf<T>>(this->kind_, variant), found.op, scale, group);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Reduction<float>>("reduce", layout);
  for (Layout layout : kNarrowLayouts) for_each_half([&](auto half) { c.add<Reduction<decltype(half)>>("reduce", layout); });
  for (const char* layer : {"global_average_pool", "global_max_pool"}) {
    for (Layout layout : kImageLayouts) c.add<Reduction<float>>(layer, layout);
    for_each_half([&](auto half) { c.add<Reduction<decltype(half)>>(layer, Layout::nhwc); });
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
