// softmax, log_softmax and hardmax along any axis, of floats of any type; exponentials and their sums in double.
#include <cmath>

#include "spi/estimate.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

enum class Soft { softmax, log_softmax, hardmax };

template <class T>
double number(T x) {
  if constexpr (kHalf<T>) return static_cast<double>(as_float(x));
  else return static_cast<double>(x);
}

// One line of n elements, `step` apart. As NumPy's, the largest element is the first NaN where there is one.
template <class T>
void line(Soft soft, const T* x, T* y, int64_t n, int64_t step) noexcept {
  int64_t at = 0;
  for (int64_t k = 1; k < n; ++k) {
    const double high = number(x[at * step]), v = number(x[k * step]);
    if (v > high || (v != v && high == high)) at = k;
  }
  if (soft == Soft::hardmax) {
    for (int64_t k = 0; k < n; ++k) y[k * step] = number_as<T>(k == at ? 1 : 0);
    return;
  }
  const double high = number(x[at * step]);
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += std::exp(number(x[k * step]) - high);
  const double shift = std::log(sum);
  for (int64_t k = 0; k < n; ++k) {
    const double d = number(x[k * step]) - high;
    y[k * step] = number_as<T>(soft == Soft::softmax ? std::exp(d) / sum : d - shift);
  }
}

class SoftAxisKernel : public AnyKernel {
 public:
  SoftAxisKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), dtype_(p.in[0].dtype),
        soft_(p.kind == "softmax" ? Soft::softmax : p.kind == "log_softmax" ? Soft::log_softmax : Soft::hardmax),
        axis_(p.integer("axis")) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const auto axis = static_cast<int>(axis_ < 0 ? axis_ + x.rank : axis_);
    Loops<1> lines;
    int64_t step[kMostRank];
    steps_of(x, step);
    for (int i = 0; i < x.rank; ++i)
      if (const int d = axis_in_memory(x.layout, i); d != axis) lines.add(x.size[d], {step[d]});
    const int64_t n = x.size[axis];
    if (n == 0) return 0;
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_floating_point_v<T> || kHalf<T>)
        in_pieces(c.team, lines.total, 1, 16 * lines.total * n, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            int64_t at[1];
            start_of(lines, i, at);
            line(soft_, x.as<T>() + at[0], static_cast<T*>(c.out[0]) + at[0], n, step[axis]);
          }
        });
    });
    return 0;
  }

 private:
  DType dtype_;
  Soft soft_;
  int64_t axis_;
};

class SoftAxis : public AnyRoutine, public Estimating {
 public:
  SoftAxis(const std::string& layer, Layout images) : AnyRoutine(layer, "axis", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in.size() != 1 || p.in[0].constant) return Verdict::no("its input is a constant");
    const DType t = p.in[0].dtype;
    if (t != DType::f32 && t != DType::f64 && t != DType::f16)
      return Verdict::no(std::string("no soft maximum of ") + pw::text(t));
    if (p.in[0].shape.empty()) return Verdict::no("the input has no axis");
    return basics(p);
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.0015);  // exponentials, one by one
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<SoftAxisKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"softmax", "log_softmax", "hardmax"})
    for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<SoftAxis>(layer, images);
}
}  // namespace PW_COLLECT

}  // namespace pw
