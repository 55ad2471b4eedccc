// Functions of one u8 value: a table of 256 results, whatever the function.
#include "values/vector_u8.h"

namespace pw {
namespace {

class UnaryU8 : public VectorU8Routine {
 public:
  UnaryU8(const std::string& layer, Layout layout) : VectorU8Routine(layer, "table", layout, PW_KIND_TABLE_U8) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (!activation(p)) return Verdict::no("the parameters are outside of what the micro-kernel computes");
    return basics(p, p.out[0]);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = VectorU8Routine::ports(p);
    ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TableU8Kernel>(
        ByteTable(scale_in(constants, 0), requantise(*activation(p), scale_out(p, constants))), p.out[0].count());
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const ActivationKind* known : activation_kinds(PW_KIND_ACTIVATION_F32))
    for (Layout layout : kNarrowLayouts) c.add<UnaryU8>(known->kind, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
