// cast between all element types, as C++ converts: a number that does not fit gives any value. To and from f16 and bf16, and
// rounding to those, by way of f32; a double is rounded once.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ukernels/kinds/convert.h"
#include "values/numbers.h"
#include "values/vector.h"

namespace pw {
namespace {

using Step = void (*)(const void* x, void* y, int64_t n);

template <class From, class To>
void convert(const void* x, void* y, int64_t n) {
  const From* a = static_cast<const From*>(x);
  To* b = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i)
    if constexpr (kHalf<To>) b[i] = number_as<To>(a[i]);
    else if constexpr (std::is_same_v<To, Bool>) b[i] = static_cast<Bool>(a[i] != From{});
    else b[i] = static_cast<To>(a[i]);
}

// The conversion between two types; nullptr from and to halves, but for that of a double.
Step convert_of(DType from, DType to) {
  return with_type(from, [&](auto source) -> Step {
    using From = typename decltype(source)::type;
    return with_type(to, [](auto target) -> Step {
      using To = typename decltype(target)::type;
      if constexpr (kHalf<From> || (kHalf<To> && !std::is_same_v<From, double>)) return nullptr;
      else return convert<From, To>;
    });
  });
}

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

// What is converted from, through which rounding (f32: none), and to what.
struct Ways {
  DType from, through, to;
};

class CastKernel : public PieceKernel {
 public:
  CastKernel(const Ways& ways, size_t rank, bool blocks)
      : in_size_(static_cast<int64_t>(size_of(ways.from))), out_size_(static_cast<int64_t>(size_of(ways.to))),
        rank_(rank), blocks_(blocks), direct_(is_half(ways.through) ? nullptr : convert_of(ways.from, ways.to)), widen_(half(ways.from)),
        round_(half(ways.through)), narrow_(half(ways.to)) {
    if (direct_) return;
    // A double goes to the halves that it is rounded to at once.
    if (ways.from == DType::f64) round_double_ = convert_of(DType::f64, ways.through);
    else if (!widen_ && ways.from != DType::f32) before_ = convert_of(ways.from, DType::f32);
    if (!narrow_) after_ = convert_of(DType::f32, ways.to);
  }
  bool open(size_t, size_t axis) const override { return !(blocks_ && axis == 1); }
  int run(const Context& c) noexcept override {
    int64_t count = 1;
    for (size_t i = 0; i < rank_; ++i) count *= c.out_sizes[0][i];
    in_pieces(c.team, count, 1024, count, [&](int64_t first, int64_t last) {
      const char* x = static_cast<const char*>(c.in[0]);
      char* y = static_cast<char*>(c.out[0]);
      if (direct_) return direct_(x + first * in_size_, y + first * out_size_, last - first);
      for (int64_t i = first; i < last; i += kChunk)
        by_floats(x + i * in_size_, y + i * out_size_, std::min(kChunk, last - i));
    });
    return 0;
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
    if (round_double_) {
      round_double_(x, halves, n);
      round_->widen(halves, floats, n);
    } else if (widen_) widen_->widen(static_cast<const uint16_t*>(x), floats, n);
    else if (before_) before_(x, floats, n);
    else from = static_cast<const float*>(x);
    if (round_ && !round_double_) {
      round_->narrow(from, halves, n);
      round_->widen(halves, floats, n);
      from = floats;
    }
    if (narrow_) narrow_->narrow(from, static_cast<uint16_t*>(y), n);
    else after_(from, y, n);
  }

  int64_t in_size_, out_size_;
  size_t rank_;
  bool blocks_;  // channels lie in blocks of 16
  Step direct_, before_ = nullptr, after_ = nullptr, round_double_ = nullptr;
  const Convert *widen_, *round_, *narrow_;
};

class Cast : public VectorRoutine {
 public:
  explicit Cast(Layout layout) : VectorRoutine("cast", "convert", layout) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    const Dims& shape = p.in[0].shape;
    if ((shape.size() == 4) != (layout_ != Layout::plain)) return Verdict::no("the rank has routines of its own");
    if (!fits(layout_, shape)) return Verdict::no("channels " + std::to_string(shape[1]) + " are not a multiple of 16");
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports;
    ports.in = {{p.in[0].dtype, layout_, "cpu"}};
    ports.out = {{p.out[0].dtype, layout_, "cpu"}};
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<CastKernel>(ways(p), p.out[0].shape.size(), layout_ == Layout::nchw16c);
  }

 private:
  static Ways ways(const Problem& p) {
    const auto through = p.word("through"), source = p.word("source");
    return {source.empty() ? p.in[0].dtype : parse_dtype(source), through.empty() ? DType::f32 : parse_dtype(through), p.out[0].dtype};
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) c.add<Cast>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
