// concat of u8 values.
#include "routines/shaping/strips_u8.h"

namespace pw {
namespace {

class ConcatU8 : public VectorU8Routine {
 public:
  explicit ConcatU8(Layout layout) : VectorU8Routine("concat", "copy", layout) {}

  Verdict accepts(const Problem& p) const override {
    for (const Tensor& t : p.in)
      if (!t.present || t.constant) return Verdict::no("an input is absent or a constant");
    return basics(p, p.out[0]);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    std::vector<ByteTable> tables;
    for (size_t i = 0; i < p.in.size(); ++i)
      tables.push_back(rescaling(scale_in(constants, i), scale_out(p, constants)));
    return std::make_unique<StripsU8Kernel>(concat_strips(layout_, p), std::move(tables), true);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kNarrowLayouts) c.add<ConcatU8>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
