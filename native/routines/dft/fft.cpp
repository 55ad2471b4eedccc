// Discrete Fourier transforms along an axis, in double. Values of f32 or f64; complex numbers are pairs along the last axis.
#include <type_traits>

#include "products/fourier.h"
#include "values/strided.h"

namespace pw {
namespace {

// What the transforms of a problem have in common.
struct Shape {
  int64_t axis, given, length, made, parts_in, parts_out;
  bool inverse, onesided;

  explicit Shape(const Problem& p) {
    const Dims& x = p.in[0].shape;
    const auto rank = static_cast<int64_t>(x.size());
    axis = p.integer("axis");
    if (axis < 0) axis += rank;
    inverse = p.integer("inverse") != 0;
    onesided = p.integer("onesided") != 0;
    const auto at = static_cast<size_t>(axis);
    given = x[at];
    made = p.out[0].shape[at];
    parts_in = x.back();
    parts_out = p.out[0].shape.back();
    const std::string text(p.word("length"));
    length = !text.empty() ? p.integer("length") : inverse && onesided ? 2 * (given - 1) : given;
  }
};

template <class T>
class DftKernel : public PieceKernel {
 public:
  DftKernel(const Problem& p, const Shape& s)
      : shape_(s), rank_(p.in[0].shape.size()), threads_(p.threads), complex_(real() ? 1 : s.length),
        real_(real() ? s.length : 1) {}
  // The axis of the transform and the last one are fixed.
  bool open(size_t, size_t axis) const override {
    return axis != static_cast<size_t>(shape_.axis) && axis + 1 != rank_;
  }
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()) * sizeof(double); }
  size_t packed_bytes() const override { return complex_.bytes() + real_.bytes(); }

  int run(const Context& c) noexcept override {
    int64_t outer = 1, inner = 1;
    for (int64_t i = 0; i < shape_.axis; ++i) outer *= c.in_sizes[0][i];
    for (int64_t i = shape_.axis + 1; i + 1 < static_cast<int64_t>(rank_); ++i) inner *= c.in_sizes[0][i];
    const T* x = static_cast<const T*>(c.in[0]);
    T* y = static_cast<T*>(c.out[0]);
    in_pieces(c.team, outer * inner, 1, 16 * outer * inner * shape_.length, [&](int64_t first, int64_t last) {
      double* own = static_cast<double*>(c.workspace) + static_cast<int64_t>(c.team.index) * area();
      for (int64_t i = first; i < last; ++i) {
        const int64_t o = i / inner, r = i % inner;
        one(x + (o * shape_.given * inner + r) * shape_.parts_in, inner * shape_.parts_in,
            y + (o * shape_.made * inner + r) * shape_.parts_out, inner * shape_.parts_out, own);
      }
    });
    return 0;
  }

 private:
  // Real numbers that are not turned back have a transform of half the length.
  bool real() const { return shape_.parts_in == 1 && !shape_.inverse; }
  int64_t area() const { return 3 * shape_.length + 2 + RealFourier::scratch(shape_.length); }

  void one(const T* x, int64_t from, T* y, int64_t to, double* own) const {
    const int64_t n = shape_.length;
    double *re = own, *im = own + n + 1, *scratch = im + n + 1;
    if (real()) {
      double* line = scratch;
      for (int64_t j = 0; j < n; ++j) line[j] = j < shape_.given ? static_cast<double>(x[j * from]) : 0.0;
      real_.run(line, re, im, line + n);
      for (int64_t k = 0; k < shape_.made; ++k) {
        const int64_t at = k <= n / 2 ? k : n - k;
        y[k * to] = static_cast<T>(re[at]);
        y[k * to + 1] = static_cast<T>(k <= n / 2 ? im[at] : -im[at]);
      }
      return;
    }
    if (shape_.onesided) {  // the other half is the conjugate of this one
      for (int64_t k = 0; k <= n / 2; ++k) {
        const bool there = k < shape_.given, own_mirror = k == 0 || 2 * k == n;
        re[k] = there ? static_cast<double>(x[k * from]) : 0.0;
        im[k] = there && !own_mirror ? static_cast<double>(x[k * from + 1]) : 0.0;
      }
      for (int64_t k = n / 2 + 1; k < n; ++k) {
        re[k] = re[n - k];
        im[k] = -im[n - k];
      }
    } else {
      for (int64_t j = 0; j < n; ++j) {
        re[j] = j < shape_.given ? static_cast<double>(x[j * from]) : 0.0;
        im[j] = j < shape_.given && shape_.parts_in == 2 ? static_cast<double>(x[j * from + 1]) : 0.0;
      }
    }
    // With real and imaginary parts exchanged before and after, the transform is the inverse one.
    if (shape_.inverse)
      complex_.run(im, re, scratch);
    else
      complex_.run(re, im, scratch);
    const double scale = shape_.inverse ? 1.0 / static_cast<double>(n) : 1.0;
    for (int64_t k = 0; k < shape_.made; ++k) {
      y[k * to] = static_cast<T>(re[k] * scale);
      if (shape_.parts_out == 2) y[k * to + 1] = static_cast<T>(im[k] * scale);
    }
  }

  Shape shape_;
  size_t rank_;
  int64_t threads_;
  Fourier complex_;
  RealFourier real_;
};

class Dft : public AnyRoutine {
 public:
  Dft() : AnyRoutine("dft", "fft") {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = basics(p); !verdict) return verdict;
    if (p.in.size() != 1 && std::any_of(p.in.begin() + 1, p.in.end(), [](const Tensor& t) { return t.present; }))
      return Verdict::no("its length or its axis comes from an input");
    if (p.in[0].dtype != DType::f32 && p.in[0].dtype != DType::f64)
      return Verdict::no(std::string("an element type is ") + pw::text(p.in[0].dtype) + ", not f32 or f64");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (Shape(p).length > kMostFourier) return Verdict::no("the transform is longer than 2^24");
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    const Shape s(p);
    if (p.in[0].dtype == DType::f64) return std::make_unique<DftKernel<double>>(p, s);
    return std::make_unique<DftKernel<float>>(p, s);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Dft>();
}
}  // namespace PW_COLLECT

}  // namespace pw
