// Layers that leave u8 values as they are: reshape, squeeze, unsqueeze, identity. Where input and output have different
// scales the values are rescaled in passing.
#include "routines/vector_u8.h"

namespace pw {
namespace {

class ViewU8 : public VectorU8Routine {
 public:
  ViewU8(const std::string& layer, Layout layout) : VectorU8Routine(layer, "view", layout) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.dynamic() != std::vector<int>{0}) return Verdict::no("its input is a constant");
    for (size_t i = 1; i < p.in.size(); ++i)
      if (p.in[i].present) return Verdict::no("its shape comes from an input");
    const bool image = p.in[0].shape.size() == 4 || p.out[0].shape.size() == 4;
    if (auto verdict = basics(p, image && p.out[0].shape.size() == 4 ? p.out[0] : p.in[0]); !verdict) return verdict;
    if (p.in[0].shape == p.out[0].shape) return Verdict::ok();
    for (const Tensor& t : {p.in[0], p.out[0]})
      if (t.shape.size() == 4 && !row_major(layout_, t.shape))
        return Verdict::no("the layout is not row-major for this shape");
    return Verdict::ok();
  }
  // A rescaling kernel works in place too.
  Ports ports(const Problem& p) const override {
    Ports ports = VectorU8Routine::ports(p);
    ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TableU8Kernel>(rescaling(scale_in(constants, 0), scale_out(p, constants)), p.out[0].count());
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"reshape", "squeeze", "unsqueeze", "identity"})
    for (Layout layout : kNarrowLayouts) c.add<ViewU8>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
