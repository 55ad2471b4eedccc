// cast between the element types that C++ knows, as C++ converts: a number that does not fit gives any value. To and from
// f16 and bf16, and rounding to those, by way of f32.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ukernels/kinds/convert.h"
#include "values/vector.h"

namespace pw {
namespace {

using Step = void (*)(const void* x, void* y, int64_t n);

template <class From, class To, bool ToBool>
void convert(const void* x, void* y, int64_t n) {
  const From* a = static_cast<const From*>(x);
  To* b = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i)
    if constexpr (ToBool) b[i] = a[i] != From{};
    else b[i] = static_cast<To>(a[i]);
}

template <class From>
Step convert_from(DType to) {
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

Step convert_of(DType from, DType to) {
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

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

// What is converted from, through which rounding (f32: none), and to what.
struct Ways {
  DType from, through, to;
  bool halves() const { return is_half(from) || is_half(through) || is_half(to); }
  // Only the types of 16 bits go by way of f32; a double would be rounded twice there.
  bool possible() const {
    if (!halves()) return convert_of(from, to) != nullptr;
    return from != DType::f64 && (is_half(from) || convert_of(from, DType::f32)) && (is_half(to) || convert_of(DType::f32, to));
  }
};

class CastKernel : public PieceKernel {
 public:
  CastKernel(const Ways& ways, int64_t count)
      : count_(count), in_size_(static_cast<int64_t>(size_of(ways.from))), out_size_(static_cast<int64_t>(size_of(ways.to))),
        direct_(ways.halves() ? nullptr : convert_of(ways.from, ways.to)), widen_(half(ways.from)),
        round_(half(ways.through)), narrow_(half(ways.to)) {
    if (direct_) return;
    if (!widen_ && ways.from != DType::f32) before_ = convert_of(ways.from, DType::f32);
    if (!narrow_) after_ = convert_of(DType::f32, ways.to);
  }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    in_pieces(team, count_, 1024, count_, [&](int64_t first, int64_t last) {
      const char* x = static_cast<const char*>(in[0]);
      char* y = static_cast<char*>(out[0]);
      if (direct_) return direct_(x + first * in_size_, y + first * out_size_, last - first);
      for (int64_t i = first; i < last; i += kChunk)
        by_floats(x + i * in_size_, y + i * out_size_, std::min(kChunk, last - i));
    });
  }

 private:
  static constexpr int64_t kChunk = 1024;
  static const Convert* half(DType dtype) {
    return is_half(dtype) ? &best_ukernel<Convert>(std::string(PW_KIND_CONVERT) + pw::text(dtype)) : nullptr;
  }

  void by_floats(const void* x, void* y, int64_t n) const noexcept {
    float floats[kChunk];
    uint16_t halves[kChunk];
    const float* from = floats;
    if (widen_) widen_->widen(static_cast<const uint16_t*>(x), floats, n);
    else if (before_) before_(x, floats, n);
    else from = static_cast<const float*>(x);
    if (round_) {
      round_->narrow(from, halves, n);
      round_->widen(halves, floats, n);
      from = floats;
    }
    if (narrow_) narrow_->narrow(from, static_cast<uint16_t*>(y), n);
    else after_(from, y, n);
  }

  int64_t count_, in_size_, out_size_;
  Step direct_, before_ = nullptr, after_ = nullptr;
  const Convert *widen_, *round_, *narrow_;
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
    if (!ways(p).possible())
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
    return std::make_unique<CastKernel>(ways(p), p.out[0].count());
  }

 private:
  static Ways ways(const Problem& p) {
    const auto through = p.word("through");
    return {p.in[0].dtype, through.empty() ? DType::f32 : parse_dtype(through), p.out[0].dtype};
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Cast>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
