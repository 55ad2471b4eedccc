// pad: constant, edge and reflect, in any layout.
#include "routines/shaping/pad.h"

namespace pw {
namespace {

template <class T>
class Pad : public VectorRoutine {
 public:
  explicit Pad(Layout layout) : VectorRoutine("pad", "copy", layout, "", false, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value and pads as an attribute");
    if (auto verdict = this->basics(p, p.in[0]); !verdict) return verdict;
    return accepts_pad(this->layout_, p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    const float given = static_cast<float>(p.number("value"));
    T value;
    store_floats(&given, &value, 1);
    return std::make_unique<PadKernel<T>>(pad_tables(this->layout_, p), value);
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
