// pad of u8 values: the constant is quantised by the output's scale, 0 being its zero point.
#include "routines/shaping/pad.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

class PadU8 : public VectorU8Routine {
 public:
  explicit PadU8(Layout layout) : VectorU8Routine("pad", "copy", layout) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value and pads as an attribute");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    return accepts_pad(layout_, p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    const Scale out = scale_out(p, constants);
    return std::make_unique<PadKernel<uint8_t, ByteTable>>(
        pad_tables(layout_, p), quantised_value(static_cast<float>(p.number("value")), out),
        rescaling(scale_in(constants, 0), out));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kNarrowLayouts) c.add<PadU8>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
