// rotary_embedding/rows: row by row, with tables of cosines and sines that are read where a position says.
#include <cstring>

#include "ukernels/kinds/attention_f32.h"
#include "values/strided.h"

namespace pw {
namespace {

class RotaryKernel : public AnyKernel {
 public:
  RotaryKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), kernel_(best_ukernel<AttentionF32>(PW_KIND_ATTENTION_F32)),
        pairs_(p.integer("interleaved") != 0), inside_(p.integer("inside") != 0), positions_(p.has(3)),
        wide_(p.has(3) && p.in[3].dtype == DType::i64), one_(p.has(3) && p.in[3].shape.size() == 1) {}

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), cos = operands_.in(1, c), sin = operands_.in(2, c);
    const int64_t batch = x.size[0], length = x.size[inside_ ? 1 : 2], heads = x.size[inside_ ? 2 : 1], size = x.size[3];
    const int64_t half = cos.size[cos.rank - 1], rows = batch * heads * length, entries = cos.size[0];
    const Operand at = positions_ ? operands_.in(3, c) : Operand{};
    bool outside = false;
    in_pieces(c.team, rows, std::max<int64_t>(1, 1024 / std::max<int64_t>(1, size)), 2 * rows * size,
              [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t b = r / (heads * length), t = inside_ ? r / heads % length : r % length;
        int64_t entry = b * length + t;
        if (positions_) {
          entry = position(at, one_ ? 0 : entry);
          if (one_) entry += t;
          entry += entry < 0 ? entries : 0;
          if (entry < 0 || entry >= entries) {
            outside = true;
            continue;
          }
        }
        const float* from = x.as<float>() + r * size;
        float* to = static_cast<float*>(c.out[0]) + r * size;
        const auto turn = pairs_ ? kernel_.turn_pairs : kernel_.turn;
        turn(from, cos.as<float>() + entry * half, sin.as<float>() + entry * half, to, half);
        if (size > 2 * half) std::memcpy(to + 2 * half, from + 2 * half, static_cast<size_t>(size - 2 * half) * 4);
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  int64_t position(const Operand& o, int64_t i) const {
    constexpr int64_t kMost = int64_t{1} << 40;
    return std::clamp(wide_ ? o.as<int64_t>()[i] : o.as<int32_t>()[i], -kMost, kMost);
  }
  const AttentionF32& kernel_;
  bool pairs_, inside_, positions_, wide_, one_;
};

class RotaryRows : public AnyRoutine {
 public:
  RotaryRows() : AnyRoutine("rotary_embedding", "rows") { card_.id = "rotary_embedding/rows:f32:plain:cpu"; }
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    for (size_t i = 0; i < 3; ++i)
      if (p.in[i].dtype != DType::f32) return Verdict::no("x, cos or sin is not f32");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<RotaryKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<RotaryRows>(); }
}  // namespace PW_COLLECT

}  // namespace pw
