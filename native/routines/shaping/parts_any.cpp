// concat, split and slice of values of any element type. A copy between two places that are one is skipped.
#include "routines/shaping/moves.h"
#include "spi/estimate.h"

namespace pw {
namespace {

int axis_of(const Problem& p, size_t rank) {
  const int64_t axis = p.integer("axis");
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

// The loops over a part that lies in a whole from index `start` of an axis on. Steps: in what is read, in what is written.
void part_loops(const Operand& part, const Operand& whole, bool reads_part, int axis, int64_t start, Loops<2>& loops) {
  int64_t own[kMostRank], around[kMostRank];
  steps_of(part, own);
  steps_of(whole, around);
  loops.start[reads_part ? 1 : 0] = start * around[axis];
  for (int i = 0; i < part.rank; ++i) {
    const int d = axis_in_memory(whole.layout, i);
    if (reads_part) loops.add(part.size[d], {own[d], around[d]});
    else loops.add(part.size[d], {around[d], own[d]});
  }
}

// One loop is one piece of memory.
bool in_one_piece(const Loops<2>& loops) {
  return loops.count == 0 || (loops.count == 1 && loops.loop[0].step[0] == 1 && loops.loop[0].step[1] == 1);
}

class ConcatKernel : public AnyKernel {
 public:
  ConcatKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), axis_(axis_of(p, p.out[0].shape.size())), bytes_(size_of(p.out[0].dtype)) {}
  int run(const Context& c) noexcept override {
    const Operand y = operands_.out(0, c);
    int64_t start = 0;
    for (size_t i = 0; i < operands_.inputs(); ++i) {
      const Operand x = operands_.in(i, c);
      Loops<2> loops;
      part_loops(x, y, true, axis_, start, loops);
      start += x.size[axis_];
      const char* from = x.as<char>();
      if (in_one_piece(loops) && from == static_cast<char*>(c.out[0]) + loops.start[1] * static_cast<int64_t>(bytes_)) continue;
      copy_loops(bytes_, loops, from, c.out[0], c.team);
    }
    return 0;
  }

 private:
  int axis_;
  size_t bytes_;
};

class Concat : public AnyRoutine, public Estimating {
 public:
  explicit Concat(Layout images) : AnyRoutine("concat", "copy", images) {}
  Verdict accepts(const Problem& p) const override {
    for (const Tensor& t : p.in)
      if (!t.present) return Verdict::no("an input is absent");
    if (auto verdict = basics(p); !verdict) return verdict;
    return not_f32(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    const int axis = axis_of(p, p.out[0].shape.size());
    if (p.out[0].count() == 0 || !outermost(p.out[0].shape, axis)) return ports;
    int64_t offset = 0;
    int value = 0;
    for (const Tensor& t : p.in) {
      if (!t.constant) ports.share.push_back({value++, 0, offset});
      offset += t.count() * static_cast<int64_t>(size_of(t.dtype));
    }
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.04); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<ConcatKernel>(p, constants, images_);
  }

 private:
  // What lies around the axis in memory has length 1.
  bool outermost(const Dims& shape, int axis) const {
    for (size_t i = 0; i < shape.size(); ++i) {
      const int d = axis_in_memory(layout_of(images_, shape.size()), static_cast<int>(i));
      if (d == axis) return true;
      if (shape[static_cast<size_t>(d)] != 1) return false;
    }
    return false;
  }
};

class SplitKernel : public MoverKernel {
 public:
  SplitKernel(const Problem& p, const Constants& constants, Layout images)
      : MoverKernel(p, constants, images), axis_(axis_of(p, p.in[0].shape.size())) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    int64_t start = 0;
    for (size_t i = 0; i < operands_.outputs(); ++i) {
      const Operand y = operands_.out(i, c);
      Loops<2> loops;
      part_loops(y, x, false, axis_, start, loops);
      start += y.size[axis_];
      copy_loops(bytes_, loops, x.data, c.out[i], c.team);
    }
    return 0;
  }

 private:
  int axis_;
};

class Split : public Mover, public Estimating {
 public:
  explicit Split(Layout images) : Mover("split", "copy", images, false) {}
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.04); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<SplitKernel>(p, constants, images_);
  }
};

// Starts and steps are applied to the sizes of the run, so that what counts from the end counts from the end of that.
class SliceKernel : public MoverKernel {
 public:
  SliceKernel(const Problem& p, const Constants& constants, Layout images)
      : MoverKernel(p, constants, images), starts_(p.integers("starts")), axes_(p.integers("axes")), steps_(p.integers("steps")) {
    const auto rank = static_cast<int64_t>(p.in[0].shape.size());
    for (size_t i = axes_.size(); i < starts_.size(); ++i) axes_.push_back(static_cast<int64_t>(i));
    for (int64_t& axis : axes_) axis += axis < 0 ? rank : 0;
    steps_.resize(starts_.size(), 1);
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    int64_t from[kMostRank], to[kMostRank];
    steps_of(x, from);
    steps_of(y, to);
    Loops<2> loops;
    for (size_t i = 0; i < starts_.size(); ++i) {
      const auto axis = static_cast<size_t>(axes_[i]);
      const int64_t n = x.size[axis], high = steps_[i] > 0 ? n : n - 1;
      const int64_t start = std::clamp<int64_t>(starts_[i] < 0 ? starts_[i] + n : starts_[i], 0, std::max<int64_t>(0, high));
      loops.start[0] += start * from[axis];
      from[axis] *= steps_[i];
    }
    for (int i = 0; i < y.rank; ++i) {
      const int d = axis_in_memory(y.layout, i);
      loops.add(y.size[d], {from[d], to[d]});
    }
    copy_loops(bytes_, loops, x.data, c.out[0], c.team);
    return 0;
  }

 private:
  std::vector<int64_t> starts_, axes_, steps_;
};

class Slice : public Mover, public Estimating {
 public:
  explicit Slice(Layout images) : Mover("slice", "copy", images, true) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = Mover::accepts(p); !verdict) return verdict;
    const auto steps = p.integers("steps");
    const bool plain = std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s == 1; });
    return plain ? others(p) : Verdict::ok();
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.04); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<SliceKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : kRowsAndNhwc) {
    c.add<Concat>(images);
    c.add<Split>(images);
    c.add<Slice>(images);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
