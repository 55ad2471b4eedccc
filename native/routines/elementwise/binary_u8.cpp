// add, sub and mul of two u8 values of one shape, or of a value and one number per channel, as in squeeze-and-excite.
#include "ukernels/kinds/binary_u8.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

// The operand of the output's shape first; the other as outer x rows x columns, repeated along the rows.
struct Shape {
  int64_t outer = 1, rows = 1, columns = 1;
  bool swapped = false, scalar = false, possible = true;
};

Shape shape_of(const Problem& p, Layout layout) {
  Shape s;
  const Dims& out = p.out[0].shape;
  s.swapped = p.in[0].shape != out;
  const Dims &whole = p.in[s.swapped ? 1 : 0].shape, &other = p.in[s.swapped ? 0 : 1].shape;
  s.columns = count(out);
  if (whole != out) return s.possible = false, s;
  if (other == out) return s;
  if (count(other) == 1) return s.scalar = true, s;
  if (layout != Layout::nhwc || other.size() != 4 || other[2] != 1 || other[3] != 1 || other[1] != out[1] ||
      (other[0] != out[0] && other[0] != 1))
    return s.possible = false, s;
  s.rows = out[2] * out[3];
  s.columns = out[1];
  s.outer = out[0];
  if (other[0] == 1) s.rows *= s.outer, s.outer = 1;
  return s;
}

class BinaryU8Kernel : public PieceKernel {
 public:
  BinaryU8Kernel(const BinaryU8& kernel, BinaryQuantised op, const Shape& shape, const Problem& p,
                 const Constants& constants)
      : kernel_(kernel), shape_(shape) {
    const Scale a = scale_in(constants, shape.swapped ? 1 : 0), b = scale_in(constants, shape.swapped ? 0 : 1);
    args_.op = op;
    args_.a_zero = a.zero;
    args_.b_zero = b.zero;
    args_.a_scale = op == BinaryQuantised::mul ? a.scale * b.scale : a.scale;
    args_.b_scale = b.scale;
    args_.out = requantise(p, constants);
    const float most = op == BinaryQuantised::mul ? 255 * args_.a_scale : args_.a_scale + args_.b_scale;
    args_.out.saturates = saturates(args_.out, 255 * most);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto *a = static_cast<const uint8_t*>(in[shape_.swapped ? 1 : 0]),
               *b = static_cast<const uint8_t*>(in[shape_.swapped ? 0 : 1]);
    auto* y = static_cast<uint8_t*>(out[0]);
    const auto [outer, rows, columns, swapped, scalar, possible] = shape_;
    share_rows(team, outer, rows, columns, [&](int64_t o, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
      BinaryU8Args args = args_;
      const int64_t at = (o * rows + r0) * columns + c0;
      args.a = a + at;
      args.b = b + (scalar ? 0 : o * columns + c0);
      args.y = y + at;
      args.rows = r1 - r0;
      args.columns = c1 - c0;
      args.a_row = columns;
      args.b_scalar = scalar;
      kernel_.run(&args);
    });
  }

 private:
  const BinaryU8& kernel_;
  Shape shape_;
  BinaryU8Args args_{};
};

class BinaryU8Routine : public VectorU8Routine {
 public:
  BinaryU8Routine(const std::string& layer, BinaryQuantised op, Layout layout)
      : VectorU8Routine(layer, "broadcast", layout, PW_KIND_BINARY_U8, true), op_(op) {
    card_.version = 2;
  }

  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2) return Verdict::no("it computes two operands");
    if (p.in[0].constant || p.in[1].constant) return Verdict::no("an operand is a constant");
    if (p.epilogue.add) return Verdict::no("it takes no residual");
    if (auto verdict = basics(p, p.out[0]); !verdict) return verdict;
    if (auto verdict = applies(PW_KIND_BINARY_U8, p.epilogue); !verdict) return verdict;
    const Shape s = shape_of(p, layout_);
    if (!s.possible) return Verdict::no("neither operand is one number, or one per channel, for a value of the output's shape");
    if (s.swapped && op_ == BinaryQuantised::sub) return Verdict::no("the first operand is not of the output's shape");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return ukernel_names(kind_, epilogue_act(p)); }
  Ports ports(const Problem& p) const override {
    Ports ports = VectorU8Routine::ports(p);
    for (int i = 0; i < 2; ++i)
      if (p.in[static_cast<size_t>(i)].shape == p.out[0].shape) ports.reuse.push_back({i, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    return std::make_unique<BinaryU8Kernel>(variant_ukernel<BinaryU8>(kind_, variant), op_, shape_of(p, layout_), p,
                                            constants);
  }

 private:
  BinaryQuantised op_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  const std::pair<const char*, BinaryQuantised> rows[] = {
      {"add", BinaryQuantised::add}, {"sub", BinaryQuantised::sub}, {"mul", BinaryQuantised::mul}};
  for (const auto& [layer, op] : rows)
    for (Layout layout : kNarrowLayouts) c.add<BinaryU8Routine>(layer, op, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
