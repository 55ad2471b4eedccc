// split and slice of u8 values.
#include "routines/shaping/strips_u8.h"

namespace pw {
namespace {

class SplitU8 : public VectorU8Routine {
 public:
  explicit SplitU8(Layout layout) : VectorU8Routine("split", "copy", layout) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p, p.in[0]);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    std::vector<ByteTable> tables;
    for (size_t i = 0; i < p.out.size(); ++i)
      tables.push_back(rescaling(scale_in(constants, 0), scale_out(p, constants, i)));
    return std::make_unique<StripsU8Kernel>(split_strips(layout_, p), std::move(tables), false);
  }
};

class SliceU8Kernel : public PieceKernel {
 public:
  SliceU8Kernel(const Box& box, ByteTable table) : starts_(box.starts()), strip_(box.strip), table_(std::move(table)) {}
  size_t packed_bytes() const override { return starts_.size() * sizeof(int64_t) + table_.bytes(); }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const Strip& s = strip_;
    share_rows(team, static_cast<int64_t>(starts_.size()), s.rows, s.length,
               [&](int64_t box, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
                 const auto* x = static_cast<const uint8_t*>(in[0]) + starts_[static_cast<size_t>(box)];
                 auto* y = static_cast<uint8_t*>(out[0]) + box * s.rows * s.length;
                 for (int64_t r = r0; r < r1; ++r)
                   table_.apply(x + r * s.source_row + c0, y + r * s.length + c0, c1 - c0);
               });
  }

 private:
  std::vector<int64_t> starts_;
  Strip strip_;
  ByteTable table_;
};

class SliceU8 : public VectorU8Routine {
 public:
  explicit SliceU8(Layout layout) : VectorU8Routine("slice", "copy", layout) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value and bounds as attributes");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    return accepts_slice(layout_, p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<SliceU8Kernel>(slice_box(layout_, p),
                                           rescaling(scale_in(constants, 0), scale_out(p, constants)));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kNarrowLayouts) {
    c.add<SplitU8>(layout);
    c.add<SliceU8>(layout);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
