// pad of values of any element type: constant, edge, reflect and wrap. The numbers are attributes, or there in the run alone.
#include "base/error.h"
#include "routines/shaping/moves.h"
#include "routines/shaping/pad.h"
#include "values/found.h"
#include "values/numbers.h"

namespace pw {
namespace {

enum class Mode { constant, edge, reflect, wrap };

Mode mode_of(const Problem& p) {
  const auto mode = p.word("mode");
  return mode == "constant" ? Mode::constant : mode == "edge" ? Mode::edge : mode == "reflect" ? Mode::reflect : Mode::wrap;
}

// One axis: how many elements stand in front, which inputs are kept.
struct Padding {
  int64_t before, cut, kept;
  Mode mode;

  // The input index of an output index, -1 for the constant.
  int64_t source(int64_t o) const {
    int64_t i = o - before;
    if (i >= 0 && i < kept) return i + cut;
    if (mode == Mode::constant || kept <= 0) return -1;
    if (mode == Mode::edge) return std::clamp<int64_t>(i, 0, kept - 1) + cut;
    const int64_t period = mode == Mode::wrap ? kept : std::max<int64_t>(1, 2 * (kept - 1));
    i = ((i % period) + period) % period;
    return (i < kept ? i : period - i) + cut;
  }
};

class PadAnyKernel : public MoverKernel {
 public:
  PadAnyKernel(const Problem& p, const Constants& constants, Layout images)
      : MoverKernel(p, constants, images), widths_(pad_widths(p)) {
    mode_ = mode_of(p);
    const Layout layout = layout_of(images, p.in[0].shape.size());
    for (size_t i = 0; i < widths_.size(); ++i) {
      const auto [before, behind] = widths_[static_cast<size_t>(axis_in_memory(layout, static_cast<int>(i)))];
      if (before != 0 || behind != 0) padded_ = static_cast<int>(i) + 1;
    }
    store_number(p.in[0].dtype, p.word("value"), value_);
  }
  int run(const Context& c) noexcept override {
    with_bytes(bytes_, [&](auto unit) {
      decltype(unit) value;
      std::memcpy(&value, value_, sizeof value);
      pad(c, value);
    });
    return 0;
  }

 private:
  template <class T>
  void pad(const Context& c, T value) const noexcept {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    // Axes in memory up to the last padded one; the others move as one.
    Padding padding[kMostRank];
    int64_t in[kMostRank], out[kMostRank], rows = 1, inner = 1;
    const int count = std::max(1, padded_);
    for (int i = 0; i < x.rank; ++i) {
      const int axis = axis_in_memory(x.layout, i);
      const auto [before, behind] = widths_[static_cast<size_t>(axis)];
      const int64_t cut = std::max<int64_t>(0, -before);
      in[i] = x.size[axis];
      out[i] = y.size[axis];
      padding[i] = {std::max<int64_t>(0, before), cut, in[i] - cut - std::max<int64_t>(0, -behind), mode_};
      if (i >= count) inner *= in[i];
      else if (i < count - 1) rows *= out[i];
    }
    if (x.rank == 0) in[0] = out[0] = 1, padding[0] = {0, 0, 1, mode_};
    const int last = count - 1;
    const int64_t length = out[last] * inner, total = rows * length;
    const auto* from = x.as<T>();
    auto* to = static_cast<T*>(c.out[0]);
    in_pieces(c.team, rows, std::max<int64_t>(1, 1024 / std::max<int64_t>(1, length)), total, [&](int64_t first, int64_t end) {
      for (int64_t r = first; r < end; ++r) {
        int64_t rest = r, at = 0, step = inner * in[last];
        bool filled = false;
        for (int d = last - 1; d >= 0; --d) {
          const int64_t source = padding[d].source(rest % out[d]);
          rest /= out[d];
          filled = filled || source < 0;
          at += source * step;
          step *= in[d];
        }
        T* row = to + r * length;
        if (filled) std::fill(row, row + length, value);
        else pad_row(from + at, row, padding[last], out[last], inner, value);
      }
    });
  }
  template <class T>
  static void pad_row(const T* x, T* y, const Padding& p, int64_t n, int64_t inner, T value) noexcept {
    const int64_t kept = std::clamp<int64_t>(p.kept, 0, std::max<int64_t>(0, n - p.before));
    const auto edge = [&](int64_t first, int64_t end) {
      for (int64_t o = first; o < end; ++o) {
        const int64_t s = p.source(o);
        if (s < 0) std::fill(y + o * inner, y + (o + 1) * inner, value);
        else copy_run(x + s * inner, 1, y + o * inner, 1, inner);
      }
    };
    const int64_t before = std::min(p.before, n);
    edge(0, before);
    copy_run(x + p.cut * inner, 1, y + before * inner, 1, kept * inner);
    edge(before + kept, n);
  }

  Widths widths_;
  Mode mode_;
  int padded_ = 0;  // axes in memory, from the outermost on, behind which nothing is padded
  alignas(8) unsigned char value_[8] = {};
};

class PadAny : public Mover {
 public:
  explicit PadAny(Layout images) : Mover("pad", "copy", images, true) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = Mover::accepts(p); !verdict) return verdict;
    if (p.in[0].constant && !facts(images_).row_major()) return Verdict::no("its input is a constant, which lies in rows");
    return p.word("mode") == "wrap" ? Verdict::ok() : others(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<PadAnyKernel>(p, constants, images_);
  }
};

// Inputs: x, pads, value?, axes?. What is absent is an attribute.
class PadFoundKernel : public FoundKernel {
 public:
  PadFoundKernel(const Problem& p, const Constants& constants)
      : FoundKernel(p, constants), pads_(p, 1, "pads"), axes_(p, 3, "axes"), mode_(mode_of(p)), value_given_(p.has(2)) {
    store_number(p.in[0].dtype, p.word("value"), value_);
  }

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    Padding padding[kMostRank];
    return paddings(c, padding, sizes) ? 0 : kMisfit;
  }
  void write(const Context& c, void* y, int64_t first, int64_t last) const noexcept override {
    with_bytes(bytes_, [&](auto unit) {
      decltype(unit) value;
      const Operand given = value_given_ ? operands_.in(2, c) : Operand{};
      std::memcpy(&value, value_given_ && given.count() > 0 ? given.data : value_, sizeof value);
      fill(c, static_cast<decltype(unit)*>(y), first, last, value);
    });
  }

 private:
  template <class T>
  void fill(const Context& c, T* y, int64_t first, int64_t last, T value) const noexcept {
    const Operand x = operands_.in(0, c);
    Padding padding[kMostRank];
    int64_t sizes[kMostRank], steps[kMostRank];
    if (!paddings(c, padding, sizes)) return;
    if (rank_ == 0) {
      if (first < last) y[0] = x.as<T>()[0];
      return;
    }
    steps_of(x, steps);
    const Padding& along = padding[rank_ - 1];
    const int64_t length = sizes[rank_ - 1], front = std::max<int64_t>(0, along.before);
    for (int64_t i = first; i < last;) {
      int64_t rest = i / length, o = i % length, at = 0;
      const int64_t end = std::min(length, o + last - i);
      i += end - o;
      bool inside = true;
      for (int d = rank_ - 2; d >= 0; --d) {
        const int64_t source = padding[d].source(rest % sizes[d]);
        rest /= sizes[d];
        inside = inside && source >= 0;
        at += source * steps[d];
      }
      T* row = y + i - end;  // its first element, whether or not it belongs to this part
      if (!inside) {
        std::fill(row + o, row + end, value);
        continue;
      }
      const T* from = x.as<T>() + at;
      while (o < end) {
        const int64_t kept = std::min(end, front + along.kept) - o;
        if (o >= front && kept > 0) {
          copy_run(from + along.source(o), 1, row + o, 1, kept);
          o += kept;
        } else {
          const int64_t source = along.source(o);
          row[o++] = source < 0 ? value : from[source];
        }
      }
    }
  }

  // Every axis, and how long it becomes; false where the numbers do not fit.
  bool paddings(const Context& c, Padding* padding, int64_t* sizes) const noexcept {
    const Operand x = operands_.in(0, c);
    const int64_t given = axes_.count(operands_, c), count = given ? given : rank_;
    if (x.rank != rank_ || given > rank_ || pads_.count(operands_, c) != 2 * count) return false;
    for (int i = 0; i < rank_; ++i) {
      padding[i] = {0, 0, x.size[i], mode_};
      sizes[i] = x.size[i];
    }
    uint64_t seen = 0;
    for (int64_t k = 0; k < count; ++k) {
      int64_t axis = given ? axes_.at(operands_, c, k) : k;
      axis += axis < 0 ? rank_ : 0;
      if (axis < 0 || axis >= rank_ || (seen >> axis & 1)) return false;
      seen |= uint64_t{1} << axis;
      const int64_t before = pads_.at(operands_, c, k), behind = pads_.at(operands_, c, k + count);
      if (std::min(before, behind) < -kMostSize || std::max(before, behind) > kMostSize) return false;
      const int64_t cut = std::max<int64_t>(0, -before), kept = x.size[axis] - cut - std::max<int64_t>(0, -behind);
      if (kept < 0) return false;
      if (mode_ != Mode::constant && std::max(before, behind) > 0 && kept < (mode_ == Mode::reflect ? 2 : 1)) return false;
      padding[axis] = {std::max<int64_t>(0, before), cut, kept, mode_};
      sizes[axis] = x.size[axis] + before + behind;
    }
    return true;
  }

  RunIntegers pads_, axes_;
  Mode mode_;
  bool value_given_;
  alignas(8) unsigned char value_[8] = {};
};

class PadFound : public AnyRoutine {
 public:
  PadFound() : AnyRoutine("pad", "found") {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (!p.has(1) && !p.has(2) && !p.has(3)) return Verdict::no("its numbers are attributes");
    if (p.has(2) && p.in[2].dtype != p.in[0].dtype) return Verdict::no("the number around it has another element type");
    for (size_t i : {size_t{1}, size_t{3}})
      if (auto verdict = RunIntegers::accepts(p, i); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<PadFoundKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<PadFound>();
  for (Layout images : kRowsAndNhwc) c.add<PadAny>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
