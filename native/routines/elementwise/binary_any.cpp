// Functions of two elements of any type that is not f32, with NumPy broadcasting: arithmetic, comparison, logic.
//
// Integers wrap. They are divided towards zero; a quotient or remainder by zero is 0, and the smallest number divided by -1 is
// itself, as NumPy says: nothing traps. Values of f16 are computed in f32.
#include <cmath>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// n results; a step is 0 where one element serves all of them, else what lies between two.
using Row = void (*)(const void* a, int64_t a_step, const void* b, int64_t b_step, void* y, int64_t n);

// What an element is computed as.
template <class T>
auto widened(T x) {
  if constexpr (kHalf<T>) return as_float(x);
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<uint8_t>(x);
  else return x;
}
template <class T, class V>
T stored(V v) {
  if constexpr (std::is_same_v<T, F16>) return {f16_bits(v)};
  else return static_cast<T>(v);
}

// Output type `Out` of elements of type T. y may be a or b.
template <class T, class Out, class Op>
void row(const void* a, int64_t a_step, const void* b, int64_t b_step, void* y, int64_t n) {
  const T *p = static_cast<const T*>(a), *q = static_cast<const T*>(b);
  Out* to = static_cast<Out*>(y);
  if (a_step == 1 && b_step == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) to[i] = stored<Out>(Op::of(widened(p[i]), widened(q[i])));
  } else if (a_step == 1 && b_step == 0) {
    const auto right = widened(*q);
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) to[i] = stored<Out>(Op::of(widened(p[i]), right));
  } else if (a_step == 0 && b_step == 1) {
    const auto left = widened(*p);
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) to[i] = stored<Out>(Op::of(left, widened(q[i])));
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = stored<Out>(Op::of(widened(p[i * a_step]), widened(q[i * b_step])));
  }
}

// Arithmetic that wraps: in unsigned numbers of at least 32 bits.
template <class V>
auto wrapping(V v) {
  if constexpr (!std::is_integral_v<V>) return v;
  else if constexpr (sizeof(V) < 4) return static_cast<uint32_t>(v);
  else return static_cast<std::make_unsigned_t<V>>(v);
}

struct Add {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(wrapping(a) + wrapping(b)); }
};
struct Sub {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(wrapping(a) - wrapping(b)); }
};
struct Mul {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(wrapping(a) * wrapping(b)); }
};
struct Div {
  template <class V>
  static V of(V a, V b) {
    if constexpr (std::is_integral_v<V>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<V>)
        if (b == -1) return static_cast<V>(wrapping(V{0}) - wrapping(a));
      return static_cast<V>(a / b);
    } else {
      return a / b;
    }
  }
};
// NaN wins.
struct Minimum {
  template <class V>
  static V of(V a, V b) { return a < b || a != a ? a : b; }
};
struct Maximum {
  template <class V>
  static V of(V a, V b) { return a > b || a != a ? a : b; }
};
// With the sign of a, as fmod of C.
struct Remainder {
  template <class V>
  static V of(V a, V b) {
    if constexpr (std::is_integral_v<V>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<V>)
        if (b == -1) return 0;
      return static_cast<V>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};
// With the sign of b, as % of Python.
struct Modulo {
  template <class V>
  static V of(V a, V b) {
    const V r = Remainder::of(a, b);
    if (r != 0) return (r < 0) != (b < 0) ? static_cast<V>(r + b) : r;
    if constexpr (std::is_integral_v<V>) return 0;
    else return b == 0 ? r : std::copysign(V{0}, b);
  }
};
struct Prelu {
  template <class V>
  static V of(V a, V b) { return a >= 0 ? a : Mul::of(a, b); }
};
struct Equal {
  template <class V>
  static bool of(V a, V b) { return a == b; }
};
struct Less {
  template <class V>
  static bool of(V a, V b) { return a < b; }
};
struct LessEqual {
  template <class V>
  static bool of(V a, V b) { return a <= b; }
};
struct Greater {
  template <class V>
  static bool of(V a, V b) { return a > b; }
};
struct GreaterEqual {
  template <class V>
  static bool of(V a, V b) { return a >= b; }
};
struct And {
  static bool of(uint8_t a, uint8_t b) { return (a != 0) & (b != 0); }
};
struct Or {
  static bool of(uint8_t a, uint8_t b) { return (a | b) != 0; }
};
struct Xor {
  static bool of(uint8_t a, uint8_t b) { return (a != 0) != (b != 0); }
};

// Of integers.
struct BitAnd {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(a & b); }
};
struct BitOr {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(a | b); }
};
struct BitXor {
  template <class V>
  static V of(V a, V b) { return static_cast<V>(a ^ b); }
};
template <class V>
bool within(V places) { return static_cast<uint64_t>(places) < 8 * sizeof(V); }  // a negative one becomes a large one
struct ShiftLeft {
  template <class V>
  static V of(V a, V b) { return within(b) ? static_cast<V>(wrapping(a) << b) : V{0}; }
};
// Copies of the sign come in from the left.
struct ShiftRight {
  template <class V>
  static V of(V a, V b) { return within(b) ? static_cast<V>(a >> b) : static_cast<V>(a < 0 ? -1 : 0); }
};

// a ^ b for exponents of any type: those of integers as int64_t or uint64_t, others as double.
template <class T, class Exponent>
T power(T base, Exponent e) {
  if constexpr (!std::is_integral_v<T>) {
    return number_as<T>(std::pow(static_cast<double>(widened(base)), static_cast<double>(e)));
  } else if constexpr (std::is_floating_point_v<Exponent>) {
    return number_as<T>(std::pow(static_cast<double>(base), e));
  } else {
    if constexpr (std::is_signed_v<Exponent>)
      if (e < 0) return base == 1 ? T{1} : base == static_cast<T>(-1) && std::is_signed_v<T> ? static_cast<T>(e % 2 ? -1 : 1) : T{0};
    uint64_t result = 1, factor = static_cast<uint64_t>(base);
    for (auto rest = static_cast<uint64_t>(e); rest; rest >>= 1, factor *= factor)
      if (rest & 1) result *= factor;
    return static_cast<T>(result);
  }
}

template <class T, class From>
void power_row(const void* a, int64_t a_step, const void* b, int64_t b_step, void* y, int64_t n) {
  const T* p = static_cast<const T*>(a);
  const From* q = static_cast<const From*>(b);
  T* to = static_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) {
    const From e = q[i * b_step];
    if constexpr (std::is_unsigned_v<From>) to[i] = power(p[i * a_step], static_cast<uint64_t>(e));
    else if constexpr (std::is_integral_v<From>) to[i] = power(p[i * a_step], static_cast<int64_t>(e));
    else to[i] = power(p[i * a_step], static_cast<double>(widened(e)));
  }
}

// The row function of a kind for operands of one type; nullptr where there is none.
template <class Op, bool Test>
Row of_numbers(DType dtype) {
  return with_type(dtype, [](auto tag) -> Row {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, Bf16>) return nullptr;
    else if constexpr (std::is_same_v<T, Bool>) {
      if constexpr (std::is_same_v<Op, Equal>) return row<T, bool, Op>;
      else return nullptr;
    } else return row<T, std::conditional_t<Test, bool, T>, Op>;
  });
}
Row of_power(DType base, DType exponent) {
  return with_type(base, [&](auto tag) -> Row {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, Bf16> || std::is_same_v<T, Bool>) return nullptr;
    else return with_type(exponent, [](auto other) -> Row {
      using E = typename decltype(other)::type;
      if constexpr (std::is_same_v<E, Bf16> || std::is_same_v<E, Bool>) return nullptr;
      else return power_row<T, E>;
    });
  });
}
template <class Op>
Row of_integers(DType dtype) {
  return with_type(dtype, [](auto tag) -> Row {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) return row<T, T, Op>;
    else return nullptr;
  });
}
template <class Op>
Row of_truth(DType dtype) { return dtype == DType::boolean ? row<uint8_t, bool, Op> : nullptr; }

struct Kind {
  const char* name;
  Row (*row)(DType);
};
constexpr Kind kKinds[] = {
    {"add", of_numbers<Add, false>}, {"sub", of_numbers<Sub, false>}, {"mul", of_numbers<Mul, false>},
    {"div", of_numbers<Div, false>}, {"minimum", of_numbers<Minimum, false>}, {"maximum", of_numbers<Maximum, false>},
    {"prelu", of_numbers<Prelu, false>}, {"equal", of_numbers<Equal, true>}, {"less", of_numbers<Less, true>},
    {"less_equal", of_numbers<LessEqual, true>}, {"greater", of_numbers<Greater, true>},
    {"greater_equal", of_numbers<GreaterEqual, true>}, {"logical_and", of_truth<And>}, {"logical_or", of_truth<Or>},
    {"logical_xor", of_truth<Xor>}, {"bitwise_and", of_integers<BitAnd>}, {"bitwise_or", of_integers<BitOr>},
    {"bitwise_xor", of_integers<BitXor>}, {"shift_left", of_integers<ShiftLeft>}, {"shift_right", of_integers<ShiftRight>},
    {"mod", nullptr}, {"pow", nullptr}};

Row row_of(const Problem& p) {
  const DType a = p.in[0].dtype, b = p.in[1].dtype;
  if (p.kind == "pow") return of_power(a, b);
  if (a != b) return nullptr;
  if (p.kind == "mod") return p.integer("fmod") ? of_numbers<Remainder, false>(a) : of_numbers<Modulo, false>(a);
  for (const Kind& k : kKinds)
    if (p.kind == k.name) return k.row(a);
  return nullptr;
}

class RowsKernel : public AnyKernel {
 public:
  RowsKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), row_(row_of(p)), a_bytes_(static_cast<int64_t>(size_of(p.in[0].dtype))),
        b_bytes_(static_cast<int64_t>(size_of(p.in[1].dtype))), y_bytes_(static_cast<int64_t>(size_of(p.out[0].dtype))) {}
  int run(const Context& c) noexcept override {
    const Operand in[2] = {operands_.in(0, c), operands_.in(1, c)};
    Loops<3> loops;
    broadcast_loops<2>(in, operands_.out(0, c), loops);
    const int64_t zero[3] = {0, 0, 0}, *step = loops.count ? loops.loop[loops.count - 1].step : zero;
    in_pieces(c.team, loops.total, 1024, loops.total, [&](int64_t first, int64_t last) {
      walk(loops, first, last, [&](const int64_t* at, int64_t n) {
        row_(in[0].as<char>() + at[0] * a_bytes_, step[0], in[1].as<char>() + at[1] * b_bytes_, step[1],
             static_cast<char*>(c.out[0]) + at[2] * y_bytes_, n);
      });
    });
    return 0;
  }

 private:
  Row row_;
  int64_t a_bytes_, b_bytes_, y_bytes_;
};

class Rows : public AnyRoutine {
 public:
  Rows(const std::string& layer, Layout images, bool in_f32)
      : AnyRoutine(layer, "rows", images), in_f32_(in_f32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2 || !p.in[0].present || !p.in[1].present) return Verdict::no("it computes two operands");
    if (auto verdict = basics(p); !verdict) return verdict;
    if (in_f32_)
      if (auto verdict = not_f32(p); !verdict) return verdict;
    for (const Tensor& t : p.in)
      if (t.shape.size() > p.out[0].shape.size()) return Verdict::no("an operand has a higher rank than the output");
    if (!row_of(p))
      return Verdict::no(std::string("not of ") + pw::text(p.in[0].dtype) + " and " + pw::text(p.in[1].dtype));
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    const auto dynamic = p.dynamic();
    for (size_t i = 0; i < dynamic.size(); ++i) {
      const Tensor& t = p.in[static_cast<size_t>(dynamic[i])];
      if (t.dtype == p.out[0].dtype && t.shape == p.out[0].shape) ports.reuse.push_back({static_cast<int>(i), 0});
    }
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<RowsKernel>(p, constants, images_);
  }

 private:
  bool in_f32_;  // there are routines for f32
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  constexpr std::string_view in_f32[] = {"add", "sub", "mul", "div", "minimum", "maximum", "pow", "prelu"};
  for (const Kind& k : kKinds)
    for (Layout images : {Layout::nchw, Layout::nhwc})
      c.add<Rows>(k.name, images, std::find(std::begin(in_f32), std::end(in_f32), k.name) != std::end(in_f32));
}
}  // namespace PW_COLLECT

}  // namespace pw
