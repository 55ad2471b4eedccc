// Functions of one element of types other than f32: in the type itself where it is one of integers, else in double. Tests of
// one element, and trigonometric and hyperbolic functions, of f32 too.
#include <cmath>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// Attributes, as far as the function has any.
struct Parameters {
  double a = 0, b = 0;
};
using Function = double (*)(double x, const Parameters& p);

double sigmoid(double x) {
  const double small = std::exp(-std::fabs(x));
  return (x >= 0 ? 1 : small) / (1 + small);
}
double softplus(double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }
double clamp01(double x) { return x != x ? x : x < 0 ? 0 : x > 1 ? 1 : x; }
double below_zero(double x, double scale, double alpha) { return scale * (x > 0 || x != x ? x : alpha * std::expm1(x)); }

struct Named {
  const char* name;
  Function function;
  const char* parameters[2];
};
constexpr Named kFunctions[] = {
    {"leaky_relu", [](double x, const Parameters& p) { return x >= 0 ? x : p.a * x; }, {"alpha", nullptr}},
    {"sigmoid", [](double x, const Parameters&) { return x != x ? x : sigmoid(x); }, {}},
    {"hard_sigmoid", [](double x, const Parameters& p) { return clamp01(p.a * x + p.b); }, {"alpha", "beta"}},
    {"hard_swish", [](double x, const Parameters&) { return x * clamp01(x / 6 + 0.5); }, {}},
    {"silu", [](double x, const Parameters&) { return x * sigmoid(x); }, {}},
    {"gelu",
     [](double x, const Parameters& p) {
       if (p.a != 0) return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
     },
     {"approximate", nullptr}},
    {"tanh", [](double x, const Parameters&) { return std::tanh(x); }, {}},
    {"elu", [](double x, const Parameters& p) { return below_zero(x, 1, p.a); }, {"alpha", nullptr}},
    {"selu", [](double x, const Parameters& p) { return below_zero(x, p.b, p.a); }, {"alpha", "gamma"}},
    {"celu",
     [](double x, const Parameters& p) {
       return x != x ? x : std::fmax(x, 0) + std::fmin(0, p.a * std::expm1(p.a > 0 ? std::fmin(x / p.a, 0) : x / p.a));
     },
     {"alpha", nullptr}},
    {"softplus", [](double x, const Parameters&) { return x != x ? x : softplus(x); }, {}},
    {"softsign", [](double x, const Parameters&) { return x / (1 + std::fabs(x)); }, {}},
    {"mish", [](double x, const Parameters&) { return x * std::tanh(softplus(x)); }, {}},
    {"thresholded_relu", [](double x, const Parameters& p) { return x > p.a ? x : 0; }, {"alpha", nullptr}},
    {"exp", [](double x, const Parameters&) { return std::exp(x); }, {}},
    {"log", [](double x, const Parameters&) { return std::log(x); }, {}},
    {"sqrt", [](double x, const Parameters&) { return std::sqrt(x); }, {}},
    {"reciprocal", [](double x, const Parameters&) { return 1 / x; }, {}},
    {"floor", [](double x, const Parameters&) { return std::floor(x); }, {}},
    {"ceil", [](double x, const Parameters&) { return std::ceil(x); }, {}},
    {"round", [](double x, const Parameters&) { return std::nearbyint(x); }, {}},
    {"erf", [](double x, const Parameters&) { return std::erf(x); }, {}},
    {"sin", [](double x, const Parameters&) { return std::sin(x); }, {}},
    {"cos", [](double x, const Parameters&) { return std::cos(x); }, {}},
    {"tan", [](double x, const Parameters&) { return std::tan(x); }, {}},
    {"asin", [](double x, const Parameters&) { return std::asin(x); }, {}},
    {"acos", [](double x, const Parameters&) { return std::acos(x); }, {}},
    {"atan", [](double x, const Parameters&) { return std::atan(x); }, {}},
    {"sinh", [](double x, const Parameters&) { return std::sinh(x); }, {}},
    {"cosh", [](double x, const Parameters&) { return std::cosh(x); }, {}},
    {"asinh", [](double x, const Parameters&) { return std::asinh(x); }, {}},
    {"acosh", [](double x, const Parameters&) { return std::acosh(x); }, {}},
    {"atanh", [](double x, const Parameters&) { return std::atanh(x); }, {}},
    {"neg", nullptr, {}}, {"abs", nullptr, {}}, {"sign", nullptr, {}}, {"relu", nullptr, {}}, {"clip", nullptr, {"min", "max"}},
    {"logical_not", nullptr, {}}, {"is_nan", nullptr, {}}, {"bitwise_not", nullptr, {}}};

template <class T>
double as_double(T x) {
  if constexpr (kHalf<T>) return as_float(x);
  else return static_cast<double>(x);
}

// Bounds of integers: those of their type where an attribute lies beyond it.
template <class T>
T lowest(double bound) {
  using L = std::numeric_limits<T>;
  if (bound <= static_cast<double>(L::min())) return L::min();
  return std::ceil(bound) >= static_cast<double>(L::max()) ? L::max() : static_cast<T>(std::ceil(bound));
}
template <class T>
T highest(double bound) {
  using L = std::numeric_limits<T>;
  if (bound >= static_cast<double>(L::max())) return L::max();
  return std::floor(bound) <= static_cast<double>(L::min()) ? L::min() : static_cast<T>(std::floor(bound));
}

struct Work {
  std::string_view kind;
  Function function;
  Parameters p;
};

// n elements; y may be x.
template <class T, class Body>
void each(const T* x, void* y, int64_t n, Body&& body) {
  using Out = decltype(body(T{}));
  Out* to = static_cast<Out*>(y);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = body(x[i]);
}

template <class T>
void integers(const Work& w, const T* x, void* y, int64_t n) {
  using U = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;  // which may wrap
  if (w.kind == "neg") return each(x, y, n, [](T v) { return static_cast<T>(U{0} - static_cast<U>(v)); });
  if (w.kind == "abs") return each(x, y, n, [](T v) { return v < 0 ? static_cast<T>(U{0} - static_cast<U>(v)) : v; });
  if (w.kind == "sign") return each(x, y, n, [](T v) { return static_cast<T>((v > 0) - (v < 0)); });
  if (w.kind == "relu") return each(x, y, n, [](T v) { return v > 0 ? v : T{0}; });
  if (w.kind == "bitwise_not") return each(x, y, n, [](T v) { return static_cast<T>(~v); });
  const T low = lowest<T>(w.p.a), high = highest<T>(w.p.b);
  each(x, y, n, [low, high](T v) {
    const T raised = v > low ? v : low;
    return raised < high ? raised : high;
  });
}

template <class T>
void floats(const Work& w, const T* x, void* y, int64_t n) {
  if (w.kind == "is_nan") return each(x, y, n, [](T v) { return as_double(v) != as_double(v); });
  if (w.function) return each(x, y, n, [&](T v) { return number_as<T>(w.function(as_double(v), w.p)); });
  if (w.kind == "neg") return each(x, y, n, [](T v) { return number_as<T>(-as_double(v)); });
  if (w.kind == "abs") return each(x, y, n, [](T v) { return number_as<T>(std::fabs(as_double(v))); });
  if (w.kind == "sign") {
    return each(x, y, n, [](T v) {
      const double d = as_double(v);
      return number_as<T>(d != d ? d : (d > 0) - (d < 0));
    });
  }
  // NaN stays.
  const double low = w.kind == "relu" ? 0.0 : w.p.a, high = w.kind == "relu" ? HUGE_VAL : w.p.b;
  each(x, y, n, [low, high](T v) {
    const double d = as_double(v), raised = d < low ? low : d;
    return number_as<T>(raised > high ? high : raised);
  });
}

void compute(DType dtype, const Work& w, const void* x, void* y, int64_t n) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = static_cast<const T*>(x);
    if constexpr (std::is_same_v<T, Bool>) each(from, y, n, [](T v) { return v == Bool::no; });
    else if constexpr (std::is_integral_v<T>) integers(w, from, y, n);
    else floats(w, from, y, n);
  });
}

class FunctionKernel : public AnyKernel {
 public:
  FunctionKernel(const Problem& p, Layout images, const Named& named)
      : AnyKernel(p, Constants(p.in.size()), images), dtype_(p.in[0].dtype), work_{named.name, named.function, {}},
        x_bytes_(static_cast<int64_t>(size_of(dtype_))), y_bytes_(static_cast<int64_t>(size_of(p.out[0].dtype))) {
    if (named.parameters[0]) work_.p.a = p.number(named.parameters[0]);
    if (named.parameters[1]) work_.p.b = p.number(named.parameters[1]);
  }
  int run(const Context& c) noexcept override {
    const int64_t n = operands_.out(0, c).count();
    in_pieces(c.team, n, 1024, work_.function ? 8 * n : n, [&](int64_t first, int64_t last) {
      compute(dtype_, work_, static_cast<const char*>(c.in[0]) + first * x_bytes_,
              static_cast<char*>(c.out[0]) + first * y_bytes_, last - first);
    });
    return 0;
  }

 private:
  DType dtype_;
  Work work_;
  int64_t x_bytes_, y_bytes_;
};

class FunctionRoutine : public AnyRoutine {
 public:
  FunctionRoutine(const Named& named, Layout images) : AnyRoutine(named.name, "elements", images), named_(named) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("it computes one value");
    if (auto verdict = basics(p); !verdict) return verdict;
    const DType t = p.in[0].dtype;
    if (t == DType::bf16 || (t == DType::boolean) != (p.kind == "logical_not"))
      return Verdict::no(std::string("not of ") + pw::text(t));
    const bool integer = t != DType::boolean && t != DType::f16 && t != DType::f32 && t != DType::f64;
    if (integer && (named_.function || p.kind == "is_nan")) return Verdict::no("not of integers");
    if (!integer && p.kind == "bitwise_not") return Verdict::no("of integers alone");
    if (t == DType::f32 && activation(p)) return not_f32(p);
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (p.in[0].dtype == p.out[0].dtype) ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<FunctionKernel>(p, images_, named_);
  }

 private:
  const Named& named_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const Named& named : kFunctions)
    for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<FunctionRoutine>(named, images);
}
}  // namespace PW_COLLECT

}  // namespace pw
