// What reshape, squeeze, unsqueeze and identity ask for where they leave the elements in order.
#pragma once
#include "routines/shaping/permute.h"

namespace pw {

// `basics(t)`: what the routine asks of the value that must fit its layout.
template <class Basics>
Verdict keeps_order(const Problem& p, Layout layout, Basics&& basics) {
  if (p.in.empty() || p.dynamic() != std::vector<int>{0}) return Verdict::no("its input is a constant");
  for (size_t i = 1; i < p.in.size(); ++i)
    if (p.in[i].present) return Verdict::no("its shape comes from an input");
  // One instance serves each pair of ranks: `plain` where neither is 4.
  const bool image = p.in[0].shape.size() == 4 || p.out[0].shape.size() == 4;
  if (Verdict v = basics(image && p.out[0].shape.size() == 4 ? p.out[0] : p.in[0]); !v) return v;
  if (p.in[0].shape == p.out[0].shape) return Verdict::ok();
  for (const Tensor& t : {p.in[0], p.out[0]})
    if (t.shape.size() == 4 && !row_major(layout, t.shape)) return Verdict::no("the layout is not row-major for this shape");
  return Verdict::ok();
}

}  // namespace pw
