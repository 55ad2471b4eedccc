// What the routines of pad share, in any layout: runs of the input are copied, everything else is found by tables.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "routines/shaping/copied.h"
#include "values/tables.h"
#include "values/vector.h"

namespace pw {

// Elements in front of and behind each axis.
using Widths = std::vector<std::pair<int64_t, int64_t>>;
inline Widths pad_widths(const Problem& p) {
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
inline int64_t pad_before(Layout layout, const Widths& width, size_t d) {
  if (layout == Layout::nchw16c) return d == 4 ? 0 : d == 1 ? width[1].first / 16 : width[d].first;
  if (layout == Layout::nhwc) return width[d == 0 ? 0 : d == 3 ? 1 : d + 1].first;
  return width[d].first;
}
inline int64_t pad_behind(Layout layout, const Widths& width, size_t d) {
  if (layout == Layout::nchw16c) return d == 4 ? 0 : d == 1 ? width[1].second / 16 : width[d].second;
  if (layout == Layout::nhwc) return width[d == 0 ? 0 : d == 3 ? 1 : d + 1].second;
  return width[d].second;
}

// Input index per output index, -1 = fill. Negative pads cut off before the rest is padded.
inline std::vector<int64_t> pad_table(std::pair<int64_t, int64_t> width, int64_t length, int64_t out,
                                      std::string_view mode) {
  const int64_t cut = std::max<int64_t>(0, -width.first), cut_end = std::max<int64_t>(0, -width.second);
  const int64_t kept = length - cut - cut_end, pad = std::max<int64_t>(0, width.first);
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

// Dimensions in memory, from the outermost on, behind which nothing is padded.
inline size_t padded_dims(Layout layout, const Widths& width, const std::vector<MemoryDim>& in,
                          const std::vector<MemoryDim>& out) {
  size_t n = in.size();
  while (n > 0 && pad_before(layout, width, n - 1) == 0 && in[n - 1].size == out[n - 1].size) --n;
  return n;
}

// Entries of PadTables.
inline int64_t pad_entries(Layout layout, const Problem& p) {
  const auto in = memory_dims(layout, p.in[0].shape), out = memory_dims(layout, p.out[0].shape);
  const size_t n = padded_dims(layout, pad_widths(p), in, out);
  int64_t rows = 1;
  for (size_t d = 0; d + 1 < n; ++d) rows = saturated(rows, out[d].size);
  return rows + (n > 0 ? out[n - 1].size : 1);
}

inline Verdict accepts_pad(Layout layout, const Problem& p) {
  const auto mode = p.word("mode");
  if (mode != "constant" && mode != "edge" && mode != "reflect")
    return Verdict::no("its mode is " + std::string(mode));
  if (layout == Layout::nchw16c) {
    const int64_t before = pad_widths(p)[1].first;
    if (before % 16 != 0)
      return Verdict::no("channels are padded by " + std::to_string(before) + ", not by blocks of 16");
    if (mode != "constant" && p.in[0].shape[1] != p.out[0].shape[1])
      return Verdict::no("channels are padded by others in blocks of 16");
  }
  return fits_table(p, pad_entries(layout, p), sizeof(int64_t));
}

struct PadTables {
  std::vector<int64_t> rows{0};    // start of the source of each output row, -1 = fill
  std::vector<int64_t> source{0};  // along a row, in units of `inner`, -1 = fill
  int64_t inner = 1;
};

inline PadTables pad_tables(Layout layout, const Problem& p) {
  const auto width = pad_widths(p);
  const auto in = memory_dims(layout, p.in[0].shape), out = memory_dims(layout, p.out[0].shape);
  const auto along = [&](size_t d) {
    return pad_table({pad_before(layout, width, d), pad_behind(layout, width, d)}, in[d].size, out[d].size,
                     p.word("mode"));
  };
  PadTables t;
  // The innermost dimensions without padding move as one.
  size_t last = padded_dims(layout, width, in, out);
  for (size_t d = last; d < in.size(); ++d) t.inner *= in[d].size;
  int64_t stride = t.inner;
  if (last > 0) {
    --last;
    t.source = along(last);
    stride *= in[last].size;
  }
  // Rows from the innermost dimension outwards.
  for (size_t d = last; d-- > 0;) {
    const auto indices = along(d);
    std::vector<int64_t> next;
    next.reserve(indices.size() * t.rows.size());
    for (int64_t s : indices)
      for (int64_t r : t.rows) next.push_back(s < 0 || r < 0 ? -1 : s * stride + r);
    t.rows = std::move(next);
    stride *= in[d].size;
  }
  return t;
}

// `Move` copies runs, as Copied does.
template <class T, class Move = Copied<T>>
class PadKernel : public PieceKernel {
 public:
  PadKernel(PadTables tables, T value, Move move = {})
      : rows_(std::move(tables.rows)), source_(std::move(tables.source)), inner_(tables.inner), value_(value),
        move_(std::move(move)) {
    // The longest stretch of consecutive inputs is copied in one go.
    const int64_t n = static_cast<int64_t>(source_.size());
    for (int64_t i = 0; i < n;) {
      int64_t end = i + 1;
      while (end < n && source_[i] >= 0 && source_[end] == source_[end - 1] + 1) ++end;
      if (source_[i] >= 0 && end - i > copy_last_ - copy_first_) copy_first_ = i, copy_last_ = end;
      i = end;
    }
  }
  size_t packed_bytes() const override { return (rows_.size() + source_.size()) * sizeof(int64_t) + move_.bytes(); }

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
          move_.apply(x + at + source_[static_cast<size_t>(copy_first_)] * inner_, y + copy_first_ * inner_,
                      (copy_last_ - copy_first_) * inner_);
        items(x + at, y, copy_last_, n);
      }
    });
  }

 private:
  void items(const T* x, T* y, int64_t first, int64_t last) const noexcept {
    for (int64_t i = first; i < last; ++i) {
      const int64_t s = source_[static_cast<size_t>(i)];
      if (s < 0) std::fill(y + i * inner_, y + (i + 1) * inner_, value_);
      else move_.apply(x + s * inner_, y + i * inner_, inner_);
    }
  }

  std::vector<int64_t> rows_, source_;  // as in PadTables
  int64_t inner_;
  T value_;
  Move move_;
  int64_t copy_first_ = 0, copy_last_ = 0;
};

}  // namespace pw
