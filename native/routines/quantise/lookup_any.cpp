// lookup_table: a table of 256 bytes for every function of one byte, in the order of memory.
#include "spi/estimate.h"
#include "ukernels/kinds/table_u8.h"

#include "values/strided.h"

namespace pw {
namespace {

class LookupKernel : public AnyKernel {
 public:
  LookupKernel(const Problem& p, const Constants& constants, Layout images, const TableU8& kernel)
      : AnyKernel(p, constants, images), kernel_(kernel), table_(256) {
    // By the bits of x: those of a negative number come behind the others.
    const auto* from = constants[1].as<uint8_t>();
    const int flip = p.in[0].dtype == DType::i8 ? 128 : 0;
    for (int i = 0; i < 256; ++i) table_.as<uint8_t>()[i] = from[i ^ flip];
  }
  size_t packed_bytes() const override { return table_.bytes(); }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const int64_t count = x.count();
    in_pieces(c.team, count, 4096, count / 4, [&](int64_t first, int64_t last) {
      kernel_.run(table_.as<uint8_t>(), x.as<uint8_t>() + first, static_cast<uint8_t*>(c.out[0]) + first, last - first);
    });
    return 0;
  }

 private:
  const TableU8& kernel_;
  Buffer table_;
};

class LookupTable : public AnyRoutine, public Estimating {
 public:
  explicit LookupTable(Layout images) : AnyRoutine("lookup_table", "bytes", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant || !p.in[1].constant) return Verdict::no("it takes a value and a table that is a constant");
    return basics(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    ports.reuse.push_back({0, 0});
    return ports;
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_TABLE_U8); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.05); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<LookupKernel>(p, constants, images_, variant_ukernel<TableU8>(PW_KIND_TABLE_U8, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<LookupTable>(images);
}
}  // namespace PW_COLLECT
}  // namespace pw
