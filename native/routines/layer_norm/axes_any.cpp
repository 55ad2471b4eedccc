// Normalisation over any axes, of floats of any type, with parameters that broadcast in any way. All is computed in double.
#include "routines/layer_norm/normalised.h"
#include "spi/estimate.h"
#include "values/numbers.h"

namespace pw {
namespace {

// Loops over what is normalised to one divisor, and over the divisors; steps in x, scale and bias.
struct Walks {
  Loops<3> kept, together;
};

template <class T>
double number(T x) {
  if constexpr (kHalf<T>) return static_cast<double>(as_float(x));
  else return static_cast<double>(x);
}

template <class T>
void normalise(const Normalisation& how, const Walks& walks, const T* x, const T* scale, const T* bias, T* y,
               Team& team) noexcept {
  const int64_t terms = walks.together.total;
  const int inner = walks.together.count - 1;
  int64_t step[3] = {};
  if (inner >= 0) std::copy_n(walks.together.loop[inner].step, 3, step);
  in_pieces(team, walks.kept.total, 1, 4 * walks.kept.total * terms, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      int64_t start[3];
      start_of(walks.kept, i, start);
      const auto each = [&](auto&& body) {
        walk(walks.together, 0, terms, [&](const int64_t* at, int64_t n) {
          const int64_t x0 = start[0] + at[0], s0 = start[1] + at[1], b0 = start[2] + at[2];
          for (int64_t k = 0; k < n; ++k) body(x0 + k * step[0], s0 + k * step[1], b0 + k * step[2]);
        });
      };
      const auto count = static_cast<double>(terms);
      double mean = 0, sum = 0, off = 0;
      if (how.what == Moment::centred) {
        each([&](int64_t at, int64_t, int64_t) { mean += number(x[at]); });
        mean /= count;
      }
      if (how.what == Moment::sizes) each([&](int64_t at, int64_t, int64_t) { sum += std::fabs(number(x[at])); });
      else each([&](int64_t at, int64_t, int64_t) {
        const double d = number(x[at]) - mean;
        off += d;
        sum += d * d;
      });
      if (how.what == Moment::centred) sum = std::max(0.0, sum - off * off / count);
      const double factor = how.factor(sum, count);
      each([&](int64_t at, int64_t s, int64_t b) {
        double v = (number(x[at]) - mean) * factor;
        if (scale) v *= number(scale[s]);
        if (bias) v += number(bias[b]);
        y[at] = number_as<T>(v);
      });
    }
  });
}

class NormAxesKernel : public AnyKernel {
 public:
  NormAxesKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), dtype_(p.in[0].dtype), how_(normalisation_of(p)), has_{true, p.has(1), p.has(2)} {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    if (x.count() == 0) return 0;
    Operand parameter[2];
    int64_t step[3][kMostRank];
    steps_of(x, step[0]);
    for (size_t i : {size_t{1}, size_t{2}}) {
      if (!has_[i]) continue;
      parameter[i - 1] = operands_.in(i, c);
      steps_of(parameter[i - 1], step[i]);
    }
    // Steps of a parameter along axis `axis` of x: by channel, or as it broadcasts.
    const auto along = [&](size_t i, int axis) -> int64_t {
      if (!has_[i]) return 0;
      const Operand& own = parameter[i - 1];
      if (how_.by_channel()) return axis == 1;
      const int d = axis - (x.rank - own.rank);
      return d < 0 || own.size[d] == 1 ? 0 : step[i][d];
    };
    Walks walks;
    for (int i = 0; i < x.rank; ++i) {
      const int axis = axis_in_memory(x.layout, i);
      const int64_t from = step[0][axis], s = along(1, axis), b = along(2, axis);
      const bool chosen = std::find(how_.axes.begin(), how_.axes.end(), axis) != how_.axes.end();
      if (how_.groups > 0 && axis == 1) {
        const int64_t width = x.size[1] / how_.groups;
        walks.kept.add(how_.groups, {from * width, s * width, b * width});
        walks.together.add(width, {from, s, b});
      } else {
        (chosen ? walks.together : walks.kept).add(x.size[axis], {from, s, b});
      }
    }
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_floating_point_v<T> || kHalf<T>)
        normalise<T>(how_, walks, x.as<T>(), has_[1] ? parameter[0].as<T>() : nullptr, has_[2] ? parameter[1].as<T>() : nullptr,
                     static_cast<T*>(c.out[0]), c.team);
    });
    return 0;
  }

 private:
  DType dtype_;
  Normalisation how_;
  bool has_[3];
};

class NormAxes : public AnyRoutine, public Estimating {
 public:
  NormAxes(const std::string& layer, Layout images) : AnyRoutine(layer, "axes", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in.empty() || p.in[0].constant) return Verdict::no("its input is a constant");
    const DType t = p.in[0].dtype;
    if (t != DType::f32 && t != DType::f64 && t != DType::f16)
      return Verdict::no(std::string("no normalisation of ") + pw::text(t));
    return basics(p);
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.006);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<NormAxesKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : kNormalisations)
    for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<NormAxes>(layer, images);
}
}  // namespace PW_COLLECT

}  // namespace pw
