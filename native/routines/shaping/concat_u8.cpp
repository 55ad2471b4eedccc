// concat of u8 values: rectangular copies, rescaled where an input's scale is not the output's. No input shares the
// output's memory, since whether it is rescaled, under the eyes of its other readers, is known to `prepare` only.
#include "routines/vector_u8.h"

namespace pw {
namespace {

// One input: `rows` runs of `length` bytes that go to out + offset, `out_row` apart.
struct Strip {
  int64_t rows, length, out_row, offset;
};

// Elements before, and from the axis on, in memory.
std::pair<int64_t, int64_t> cut(Layout layout, const Dims& shape, int64_t axis) {
  int64_t outer = 1, run = 1;
  bool found = false;
  for (const MemoryDim& d : memory_dims(layout, shape)) {
    found = found || d.logical == axis;
    (found ? run : outer) *= d.size;
  }
  return {outer, run};
}

class ConcatU8Kernel : public PieceKernel {
 public:
  ConcatU8Kernel(std::vector<Strip> strips, std::vector<ByteTable> tables)
      : strips_(std::move(strips)), tables_(std::move(tables)) {}
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const ByteTable& t : tables_) bytes += t.bytes();
    return bytes;
  }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    for (size_t i = 0; i < strips_.size(); ++i) {
      const Strip& s = strips_[i];
      const auto* x = static_cast<const uint8_t*>(in[i]);
      auto* y = static_cast<uint8_t*>(out[0]) + s.offset;
      share_rows(team, 1, s.rows, s.length, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        for (int64_t r = r0; r < r1; ++r) tables_[i].apply(x + r * s.length + c0, y + r * s.out_row + c0, c1 - c0);
      });
    }
  }

 private:
  std::vector<Strip> strips_;
  std::vector<ByteTable> tables_;
};

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
    return std::make_unique<ConcatU8Kernel>(strips_of(p), std::move(tables));
  }

 private:
  std::vector<Strip> strips_of(const Problem& p) const {
    const int64_t rank = static_cast<int64_t>(p.out[0].shape.size());
    const int64_t given = p.integer("axis"), axis = given < 0 ? given + rank : given;
    const int64_t out_row = cut(layout_, p.out[0].shape, axis).second;
    std::vector<Strip> strips;
    int64_t offset = 0;
    for (const Tensor& t : p.in) {
      const auto [outer, run] = cut(layout_, t.shape, axis);
      strips.push_back({outer, run, out_row, offset});
      offset += run;
    }
    return strips;
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kNarrowLayouts) c.add<ConcatU8>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
