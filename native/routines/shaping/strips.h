// What concat, split and slice share: where their rectangles lie in memory.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/size.h"
#include "values/vector.h"

namespace pw {

// `rows` runs of `length` elements, from source + r * source_row to target + r * target_row.
struct Strip {
  int64_t rows, length, source_row, target_row;
  int64_t source_offset, target_offset;
};

// Position of a logical axis among the dimensions in memory, and the product of those from there on.
struct Cut {
  int64_t outer = 1, run = 1;  // dimensions before; elements per index of `outer`
};
inline Cut cut_at(Layout layout, const Dims& shape, int64_t axis) {
  Cut cut;
  bool found = false;
  for (const MemoryDim& d : memory_dims(layout, shape)) {
    found = found || d.logical == axis;
    (found ? cut.run : cut.outer) *= d.size;
  }
  return cut;
}

// The rectangles of parts that lie side by side along the problem's axis, read from the whole.
inline std::vector<Strip> strips_of(Layout layout, const Problem& p, const Tensor& whole, const std::vector<Tensor>& parts) {
  const int64_t given = p.integer("axis"), axis = given < 0 ? given + static_cast<int64_t>(whole.shape.size()) : given;
  const int64_t row = cut_at(layout, whole.shape, axis).run;
  std::vector<Strip> strips;
  int64_t offset = 0;
  for (const Tensor& t : parts) {
    const Cut cut = t.present ? cut_at(layout, t.shape, axis) : Cut{1, 0};
    strips.push_back({cut.outer, cut.run, row, cut.run, offset, 0});
    offset += cut.run;
  }
  return strips;
}

inline std::vector<Strip> split_strips(Layout layout, const Problem& p) { return strips_of(layout, p, p.in[0], p.out); }

inline std::vector<Strip> concat_strips(Layout layout, const Problem& p) {
  std::vector<Strip> strips = strips_of(layout, p, p.out[0], p.in);
  for (Strip& s : strips) {
    std::swap(s.source_row, s.target_row);
    std::swap(s.source_offset, s.target_offset);
  }
  return strips;
}

// First index along each axis.
inline std::vector<int64_t> slice_starts(const Problem& p) {
  const Dims& shape = p.in[0].shape;
  const int64_t rank = static_cast<int64_t>(shape.size());
  const auto starts = p.integers("starts"), axes = p.integers("axes");
  std::vector<int64_t> first(shape.size(), 0);
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t given = axes.empty() ? static_cast<int64_t>(i) : axes[i];
    const size_t axis = static_cast<size_t>(given < 0 ? given + rank : given);
    first[axis] = std::clamp<int64_t>(starts[i] < 0 ? starts[i] + shape[axis] : starts[i], 0, shape[axis]);
  }
  return first;
}

// A box cut out of memory: the rows of one strip, once from each start.
struct Box {
  Strip strip;
  int64_t offset = 0;                             // of the first start
  std::vector<std::pair<int64_t, int64_t>> dims;  // length and step of the loops over the others, outermost first

  int64_t count() const {
    int64_t n = 1;
    for (const auto& [length, step] : dims) n = saturated(n, length);
    return n;
  }
  std::vector<int64_t> starts() const {
    std::vector<int64_t> found{offset};
    for (const auto& [length, step] : dims) {
      std::vector<int64_t> next;
      next.reserve(found.size() * static_cast<size_t>(length));
      for (int64_t s : found)
        for (int64_t i = 0; i < length; ++i) next.push_back(s + i * step);
      found = std::move(next);
    }
    return found;
  }
};

inline Box slice_box(Layout layout, const Problem& p) {
  const auto first = slice_starts(p);
  const auto in = memory_dims(layout, p.in[0].shape), out = memory_dims(layout, p.out[0].shape);
  const size_t rank = in.size();
  std::vector<int64_t> stride(rank), start(rank);
  int64_t step = 1;
  for (size_t d = rank; d-- > 0; step *= in[d].size) {
    stride[d] = step;
    const bool lane = layout == Layout::nchw16c && d == 4;
    start[d] = lane ? 0 : first[static_cast<size_t>(in[d].logical)] / (layout == Layout::nchw16c && d == 1 ? 16 : 1);
  }
  // The innermost dimensions that stay whole, and the next one, make up a run.
  size_t d = rank;
  int64_t length = 1, offset = 0;
  while (d > 0) {
    --d;
    length *= out[d].size;
    offset += start[d] * stride[d];
    if (out[d].size != in[d].size) break;
  }
  Strip strip{1, length, 0, length, 0, 0};
  if (d > 0) {
    --d;
    strip.rows = out[d].size;
    strip.source_row = stride[d];
    offset += start[d] * stride[d];
  }
  Box box{strip, offset, {}};
  for (size_t e = 0; e < d; ++e) {
    box.offset += start[e] * stride[e];
    box.dims.emplace_back(out[e].size, stride[e]);
  }
  return box;
}

inline Verdict accepts_slice(Layout layout, const Problem& p) {
  for (int64_t s : p.integers("steps"))
    if (s != 1) return Verdict::no("a step is " + std::to_string(s) + ", not 1");
  if (layout == Layout::nchw16c && slice_starts(p)[1] % 16 != 0)
    return Verdict::no("the first channel is not a multiple of 16");
  return Verdict::ok();
}

}  // namespace pw
