// batch_norm whose parameters are values, and that of floats of other types than f32. Factors are computed in double.
#include <cmath>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

class BatchNormKernel : public AnyKernel {
 public:
  BatchNormKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), dtype_(p.in[0].dtype), epsilon_(p.number("epsilon")),
        workspace_(static_cast<size_t>(p.in[0].shape[1]) * 2 * sizeof(double)) {}
  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override { return workspace_; }
  int run(const Context& c) noexcept override {
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_floating_point_v<T> || kHalf<T>) run_as<T>(c);
    });
    return 0;
  }

 private:
  template <class T>
  static double number(T x) {
    if constexpr (kHalf<T>) return static_cast<double>(as_float(x));
    else return static_cast<double>(x);
  }
  template <class T>
  void run_as(const Context& c) noexcept {
    const Operand x = operands_.in(0, c);
    const int64_t channels = x.size[1];
    auto* factor = static_cast<double*>(c.workspace);
    double* shift = factor + channels;
    if (c.team.phase == 0) {
      const T *scale = operands_.in(1, c).as<T>(), *bias = operands_.in(2, c).as<T>(), *mean = operands_.in(3, c).as<T>(),
              *variance = operands_.in(4, c).as<T>();
      in_pieces(c.team, channels, 1, 8 * channels, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          factor[i] = number(scale[i]) / std::sqrt(number(variance[i]) + epsilon_);
          shift[i] = number(bias[i]) - number(mean[i]) * factor[i];
        }
      });
      return;
    }
    // Steps in x and in the parameters.
    Loops<2> loops;
    int64_t step[kMostRank];
    steps_of(x, step);
    for (int i = 0; i < x.rank; ++i) {
      const int axis = axis_in_memory(x.layout, i);
      loops.add(x.size[axis], {step[axis], axis == 1});
    }
    const T* from = x.as<T>();
    T* to = static_cast<T*>(c.out[0]);
    const int64_t along = loops.count ? loops.loop[loops.count - 1].step[1] : 0;
    in_pieces(c.team, loops.total, 64, 2 * loops.total, [&](int64_t first, int64_t last) {
      walk(loops, first, last, [&](const int64_t* at, int64_t n) {
        const T* row = from + at[0];
        T* out = to + at[0];
        const double *f = factor + at[1], *s = shift + at[1];
        if (along)
          for (int64_t k = 0; k < n; ++k) out[k] = number_as<T>(number(row[k]) * f[k] + s[k]);
        else
          for (int64_t k = 0; k < n; ++k) out[k] = number_as<T>(number(row[k]) * *f + *s);
      });
    });
  }

  DType dtype_;
  double epsilon_;
  size_t workspace_;
};

class BatchNormOfValues : public AnyRoutine {
 public:
  explicit BatchNormOfValues(Layout images) : AnyRoutine("batch_norm", "values", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in.size() != 5 || p.in[0].constant) return Verdict::no("its input is a constant");
    const DType t = p.in[0].dtype;
    if (t != DType::f32 && t != DType::f64 && t != DType::f16)
      return Verdict::no(std::string("no normalisation of ") + pw::text(t));
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<BatchNormKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<BatchNormOfValues>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
