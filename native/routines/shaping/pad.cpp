// pad: constant, edge and reflect, in any layout. Runs of the input are copied, everything else is found by tables.
#include <cstring>

#include "routines/vector.h"

namespace pw {
namespace {

template <class T>
class PadKernel : public PieceKernel {
 public:
  PadKernel(std::vector<int64_t> rows, std::vector<int64_t> source, int64_t inner, T value)
      : rows_(std::move(rows)), source_(std::move(source)), inner_(inner), value_(value) {
    // The longest stretch of consecutive inputs is copied in one go.
    const int64_t n = static_cast<int64_t>(source_.size());
    for (int64_t i = 0; i < n;) {
      int64_t end = i + 1;
      while (end < n && source_[i] >= 0 && source_[end] == source_[end - 1] + 1) ++end;
      if (source_[i] >= 0 && end - i > copy_last_ - copy_first_) copy_first_ = i, copy_last_ = end;
      i = end;
    }
  }
  size_t packed_bytes() const override { return (rows_.size() + source_.size()) * sizeof(int64_t); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* x = static_cast<const T*>(in[0]);
    const int64_t n = static_cast<int64_t>(source_.size()), length = n * inner_;
    const int64_t rows = static_cast<int64_t>(rows_.size());
    in_pieces(team, rows, 1, rows * length, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        T* y = static_cast<T*>(out[0]) + r * length;
        const int64_t at = rows_[static_cast<size_t>(r)];
        if (at < 0) {
          std::fill(y, y + length, value_);
          continue;
        }
        items(x + at, y, 0, copy_first_);
        if (copy_first_ < copy_last_)
          std::memcpy(y + copy_first_ * inner_, x + at + source_[static_cast<size_t>(copy_first_)] * inner_,
                      static_cast<size_t>((copy_last_ - copy_first_) * inner_) * sizeof(T));
        items(x + at, y, copy_last_, n);
      }
    });
  }

 private:
  void items(const T* x, T* y, int64_t first, int64_t last) const noexcept {
    for (int64_t i = first; i < last; ++i) {
      const int64_t s = source_[static_cast<size_t>(i)];
      if (s < 0) std::fill(y + i * inner_, y + (i + 1) * inner_, value_);
      else if (inner_ == 1) y[i] = x[s];
      else std::memcpy(y + i * inner_, x + s * inner_, static_cast<size_t>(inner_) * sizeof(T));
    }
  }

  std::vector<int64_t> rows_;    // start of the source of each output row, -1 = fill
  std::vector<int64_t> source_;  // along a row, in units of inner_
  int64_t inner_;
  T value_;
  int64_t copy_first_ = 0, copy_last_ = 0;
};

template <class T>
class Pad : public VectorRoutine {
 public:
  explicit Pad(Layout layout) : VectorRoutine("pad", "copy", layout, "", false, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value and pads as an attribute");
    if (auto verdict = this->basics(p, p.in[0]); !verdict) return verdict;
    const auto mode = p.word("mode");
    if (mode != "constant" && mode != "edge" && mode != "reflect")
      return Verdict::no("its mode is " + std::string(mode));
    if (this->layout_ == Layout::nchw16c) {
      const int64_t before = widths(p)[1].first;
      if (before % 16 != 0)
        return Verdict::no("channels are padded by " + std::to_string(before) + ", not by blocks of 16");
      if (mode != "constant" && p.in[0].shape[1] != p.out[0].shape[1])
        return Verdict::no("channels are padded by others in blocks of 16");
    }
    return Verdict::ok();
  }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    const auto width = widths(p);
    const auto in = memory_dims(this->layout_, p.in[0].shape), out = memory_dims(this->layout_, p.out[0].shape);
    const auto mode = p.word("mode");
    // The innermost dimensions without padding move as one.
    size_t last = in.size();
    int64_t inner = 1;
    while (last > 0 && before(width, last - 1) == 0 && in[last - 1].size == out[last - 1].size)
      inner *= in[--last].size;
    std::vector<int64_t> source(1, 0), rows(1, 0);
    int64_t stride = inner;
    if (last > 0) {
      --last;
      source = table(width, last, in[last].size, out[last].size, mode);
      stride *= in[last].size;
    }
    // Rows from the innermost dimension outwards.
    for (size_t d = last; d-- > 0;) {
      const auto along = table(width, d, in[d].size, out[d].size, mode);
      std::vector<int64_t> next;
      next.reserve(along.size() * rows.size());
      for (int64_t s : along)
        for (int64_t r : rows) next.push_back(s < 0 || r < 0 ? -1 : s * stride + r);
      rows = std::move(next);
      stride *= in[d].size;
    }
    const float given = static_cast<float>(p.number("value"));
    T value;
    store_floats(&given, &value, 1);
    return std::make_unique<PadKernel<T>>(std::move(rows), std::move(source), inner, value);
  }

 private:
  using Widths = std::vector<std::pair<int64_t, int64_t>>;

  static Widths widths(const Problem& p) {
    const size_t rank = p.in[0].shape.size();
    auto axes = p.integers("axes");
    if (axes.empty())
      for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
    const auto pads = p.integers("pads");
    Widths found(rank, {0, 0});
    for (size_t i = 0; i < axes.size(); ++i)
      found[static_cast<size_t>(axes[i] < 0 ? axes[i] + static_cast<int64_t>(rank) : axes[i])] = {pads[i],
                                                                                               pads[i + axes.size()]};
    return found;
  }

  // Elements (or blocks of 16 channels) in front of a dimension in memory.
  int64_t before(const Widths& width, size_t d) const {
    if (this->layout_ == Layout::nchw16c) return d == 4 ? 0 : d == 1 ? width[1].first / 16 : width[d].first;
    if (this->layout_ == Layout::nhwc) return width[d == 0 ? 0 : d == 3 ? 1 : d + 1].first;
    return width[d].first;
  }
  int64_t behind(const Widths& width, size_t d) const {
    if (this->layout_ == Layout::nchw16c) return d == 4 ? 0 : d == 1 ? width[1].second / 16 : width[d].second;
    if (this->layout_ == Layout::nhwc) return width[d == 0 ? 0 : d == 3 ? 1 : d + 1].second;
    return width[d].second;
  }

  // Input index per output index, -1 = fill. Negative pads cut off before the rest is padded.
  std::vector<int64_t> table(const Widths& width, size_t d, int64_t length, int64_t out, std::string_view mode) const {
    const int64_t cut = std::max<int64_t>(0, -before(width, d)), cut_end = std::max<int64_t>(0, -behind(width, d));
    const int64_t kept = length - cut - cut_end, pad = std::max<int64_t>(0, before(width, d));
    std::vector<int64_t> source(static_cast<size_t>(out));
    for (int64_t o = 0; o < out; ++o) {
      int64_t i = o - pad;
      if (i < 0 || i >= kept) {
        if (mode == "constant") {
          i = -1;
        } else if (mode == "edge") {
          i = std::clamp<int64_t>(i, 0, kept - 1);
        } else {
          const int64_t period = std::max<int64_t>(1, 2 * (kept - 1));
          i = ((i % period) + period) % period;
          if (i >= kept) i = period - i;
        }
      }
      source[static_cast<size_t>(o)] = i < 0 ? -1 : i + cut;
    }
    return source;
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Pad<float>>(layout);
  for (Layout layout : kNarrowLayouts) for_each_half([&](auto half) { c.add<Pad<decltype(half)>>(layout); });
}
}  // namespace PW_COLLECT

}  // namespace pw
