// Fourier transforms of frames of a signal, in double. Values of f32 or f64.
#include "products/fourier.h"
#include "values/strided.h"

namespace pw {
namespace {

template <class T>
class StftKernel : public AnyKernel {
 public:
  StftKernel(const Problem& p, const Constants& constants, int64_t length)
      : AnyKernel(p, constants, Layout::nchw), step_(p.integer("step")), length_(length),
        parts_(p.in[0].shape.size() == 3 ? p.in[0].shape[2] : 1), threads_(p.threads),
        windowed_(p.in.size() > 1 && p.in[1].present), whole_(!windowed_ && p.word("length").empty()),
        out_port_(p.dynamic().size()), complex_(parts_ == 2 ? length : 1), real_(parts_ == 2 ? 1 : length) {}
  // The batch; and the length of the signal, and with it the number of frames, unless a frame is all of it.
  bool open(size_t port, size_t axis) const override {
    return (port == 0 || port == out_port_) && (axis == 0 || (axis == 1 && !whole_));
  }
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()) * sizeof(double); }
  size_t packed_bytes() const override { return complex_.bytes() + real_.bytes(); }

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    const T* window = windowed_ ? operands_.in(1, c).template as<T>() : nullptr;
    const int64_t frames = y.size[1], bins = y.size[2], signal = x.size[1] * parts_;
    T* out = static_cast<T*>(c.out[0]);
    in_pieces(c.team, y.size[0] * frames, 1, 16 * y.size[0] * frames * length_, [&](int64_t first, int64_t last) {
      double* own = static_cast<double*>(c.workspace) + static_cast<int64_t>(c.team.index) * area();
      for (int64_t i = first; i < last; ++i)
        one(x.template as<T>() + i / frames * signal + i % frames * step_ * parts_, window, out + i * bins * 2, bins, own);
    });
    return 0;
  }

 private:
  int64_t area() const { return 2 * length_ + 2 + RealFourier::scratch(length_) + length_; }

  void one(const T* x, const T* window, T* y, int64_t bins, double* own) const {
    const int64_t n = length_;
    double *re = own, *im = own + n + 1, *scratch = im + n + 1;
    const auto weight = [&](int64_t j) { return window ? static_cast<double>(window[j]) : 1.0; };
    if (parts_ == 2) {
      for (int64_t j = 0; j < n; ++j) {
        re[j] = static_cast<double>(x[2 * j]) * weight(j);
        im[j] = static_cast<double>(x[2 * j + 1]) * weight(j);
      }
      complex_.run(re, im, scratch);
    } else {
      for (int64_t j = 0; j < n; ++j) scratch[j] = static_cast<double>(x[j]) * weight(j);
      real_.run(scratch, re, im, scratch + n);
      for (int64_t k = n / 2 + 1; k < bins; ++k) {
        re[k] = re[n - k];
        im[k] = -im[n - k];
      }
    }
    for (int64_t k = 0; k < bins; ++k) {
      y[2 * k] = static_cast<T>(re[k]);
      y[2 * k + 1] = static_cast<T>(im[k]);
    }
  }

  int64_t step_, length_, parts_, threads_;
  bool windowed_, whole_;
  size_t out_port_;
  Fourier complex_;
  RealFourier real_;
};

class Stft : public AnyRoutine {
 public:
  Stft() : AnyRoutine("stft", "fft") {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = basics(p); !verdict) return verdict;
    for (size_t i = 2; i < p.in.size(); ++i)
      if (p.in[i].present) return Verdict::no("its step or its length comes from an input");
    if (p.in[0].dtype != DType::f32 && p.in[0].dtype != DType::f64)
      return Verdict::no(std::string("an element type is ") + pw::text(p.in[0].dtype) + ", not f32 or f64");
    if (p.in[0].constant) return Verdict::no("the signal is a constant");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (frame_of(p) > kMostFourier) return Verdict::no("a frame is longer than 2^24");
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    const int64_t length = frame_of(p);
    if (p.in[0].dtype == DType::f64) return std::make_unique<StftKernel<double>>(p, constants, length);
    return std::make_unique<StftKernel<float>>(p, constants, length);
  }

 private:
  static int64_t frame_of(const Problem& p) {
    if (!p.word("length").empty()) return p.integer("length");
    return p.in.size() > 1 && p.in[1].present ? p.in[1].shape[0] : p.in[0].shape[1];
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Stft>();
}
}  // namespace PW_COLLECT

}  // namespace pw
