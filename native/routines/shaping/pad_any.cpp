// pad of values of any element type: constant, edge, reflect and wrap.
#include "base/error.h"
#include "routines/shaping/moves.h"
#include "routines/shaping/pad.h"
#include "values/numbers.h"

namespace pw {
namespace {

enum class Mode { constant, edge, reflect, wrap };

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
    const auto mode = p.word("mode");
    mode_ = mode == "constant" ? Mode::constant : mode == "edge" ? Mode::edge : mode == "reflect" ? Mode::reflect : Mode::wrap;
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

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : kRowsAndNhwc) c.add<PadAny>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
