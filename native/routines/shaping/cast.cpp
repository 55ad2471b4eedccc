// cast between the element types that C++ knows; as C++ converts, a number that does not fit gives any value.
#include <type_traits>

#include "routines/vector.h"

namespace pw {
namespace {

using Convert = void (*)(const void* x, void* y, int64_t first, int64_t last);

template <class From, class To, bool ToBool>
void convert(const void* x, void* y, int64_t first, int64_t last) {
  const From* a = static_cast<const From*>(x);
  To* b = static_cast<To*>(y);
  for (int64_t i = first; i < last; ++i)
    if constexpr (ToBool) b[i] = a[i] != From{};
    else b[i] = static_cast<To>(a[i]);
}

template <class From>
Convert convert_from(DType to) {
  switch (to) {
    case DType::f32: return convert<From, float, false>;
    case DType::f64: return convert<From, double, false>;
    case DType::i8: return convert<From, int8_t, false>;
    case DType::u8: return convert<From, uint8_t, false>;
    case DType::i32: return convert<From, int32_t, false>;
    case DType::i64: return convert<From, int64_t, false>;
    case DType::boolean: return convert<From, uint8_t, true>;
    default: return nullptr;
  }
}

Convert convert_of(DType from, DType to) {
  switch (from) {
    case DType::f32: return convert_from<float>(to);
    case DType::f64: return convert_from<double>(to);
    case DType::i8: return convert_from<int8_t>(to);
    case DType::u8: case DType::boolean: return convert_from<uint8_t>(to);
    case DType::i32: return convert_from<int32_t>(to);
    case DType::i64: return convert_from<int64_t>(to);
    default: return nullptr;
  }
}

class CastKernel : public PieceKernel {
 public:
  CastKernel(Convert convert, int64_t count) : convert_(convert), count_(count) {}
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    in_pieces(team, count_, 1024, count_, [&](int64_t first, int64_t last) { convert_(in[0], out[0], first, last); });
  }

 private:
  Convert convert_;
  int64_t count_;
};

class Cast : public VectorRoutine {
 public:
  explicit Cast(Layout layout) : VectorRoutine("cast", "convert", layout) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.dynamic().size() != 1 || p.in[0].count() == 0) return Verdict::no("its input is a constant or empty");
    const Dims& shape = p.in[0].shape;
    if ((shape.size() == 4) != (layout_ != Layout::plain)) return Verdict::no("the rank has routines of its own");
    if (!fits(layout_, shape)) return Verdict::no("channels " + std::to_string(shape[1]) + " are not a multiple of 16");
    if (!convert_of(p.in[0].dtype, p.out[0].dtype))
      return Verdict::no(std::string("no conversion from ") + pw::text(p.in[0].dtype) + " to " +
                         pw::text(p.out[0].dtype));
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports;
    ports.in = {{p.in[0].dtype, layout_, "cpu"}};
    ports.out = {{p.out[0].dtype, layout_, "cpu"}};
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<CastKernel>(convert_of(p.in[0].dtype, p.out[0].dtype), p.out[0].count());
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Cast>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
