// Reductions over axes that lie side by side in memory: reduce, global_average_pool, global_max_pool.
#include <cmath>

#include "spi/estimate.h"
#include "ukernels/kinds/reduce_f32.h"
#include "values/numbers.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {
namespace {

template <class T>
class ReduceKernel : public PieceKernel {
 public:
  // `axes`: that are reduced, in any order.
  ReduceKernel(const ReduceOf<T>& kernel, Reduce op, bool mean, Layout layout, const Dims& shape, std::vector<int64_t> axes)
      : kernel_(kernel), op_(op), mean_(mean), layout_(layout), rank_(shape.size()), axes_(std::move(axes)),
        group_(group_of(layout, shape, axes_)) {}
  bool open(size_t, size_t) const override { return facts(layout_).block == 0; }

  int run(const Context& c) noexcept override {
    const auto [outer, length, inner, together] = group(c.in_sizes[0]);
    const float scale = mean_ ? static_cast<float>(1.0 / static_cast<double>(length)) : 1.0f;
    const T* x = static_cast<const T*>(c.in[0]);
    T* y = static_cast<T*>(c.out[0]);
    Team& team = c.team;
    if (length == 0) nothing(y, outer * inner, team);
    else reduce(x, y, outer, length, inner, scale, team);
    return 0;
  }

 private:
  // As group_of, at the sizes of a run. Channels in blocks do not change.
  Group group(const int64_t* size) const noexcept {
    if (facts(layout_).block) return group_;
    Group g;
    bool among = false;
    for (size_t i = 0; i < rank_; ++i) {
      const int axis = axis_in_memory(layout_, static_cast<int>(i));
      if (size[axis] == 1) continue;
      const bool chosen = std::find(axes_.begin(), axes_.end(), axis) != axes_.end();
      among = among || chosen;
      (chosen ? g.length : among ? g.inner : g.outer) *= size[axis];
    }
    return g;
  }
  // What n reductions of no elements give.
  void nothing(T* y, int64_t n, Team& team) const noexcept {
    const float none = op_ == Reduce::max ? -HUGE_VALF : op_ == Reduce::min ? HUGE_VALF : mean_ ? NAN : 0.0f;
    team.each(n, std::max<int64_t>(1, n), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if constexpr (std::is_same_v<T, float>) y[i] = none;
        else y[i] = number_as<T>(none);
      }
    });
  }
  void reduce(const T* x, T* y, int64_t outer, int64_t length, int64_t inner, float scale, Team& team) const noexcept {
    const int64_t total = outer * length * inner;
    if (inner == 1) {
      return in_pieces(team, outer, std::max<int64_t>(1, 64 / length), total, [&](int64_t first, int64_t last) {
        const ReduceArgs<T> args{op_, x + first * length, y + first, last - first, length, length, scale};
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
        const ReduceArgs<T> args{op_, x + o * length * inner + c0, y + o * inner + c0, length, c1 - c0, inner, scale};
        kernel_.columns(&args);
        i = end;
      }
    });
  }

  const ReduceOf<T>& kernel_;
  Reduce op_;
  bool mean_;
  Layout layout_;
  size_t rank_;
  std::vector<int64_t> axes_;
  Group group_;  // at the sizes of the problem
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
class Reduction : public VectorRoutine, public Estimating {
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

  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(this->layout_ == Layout::nchw || this->layout_ == Layout::plain ? 0.06 : 0.13);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    Operation found;
    operation(p, found);
    return std::make_unique<ReduceKernel<T>>(variant_ukernel<ReduceOf<T>>(this->kind_, variant), found.op, found.mean,
                                             this->layout_, p.in[0].shape, axes_of(p));
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
