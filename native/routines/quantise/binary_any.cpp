// quantised_binary: real numbers of two bytes, a function of both, and a byte of the result, some elements at a time, so that
// the real numbers stay in the first cache. Every operation is that of the layers it stands for, so that results are theirs.
#include <algorithm>
#include <cmath>

#include "spi/estimate.h"
#include "ukernels/kinds/linear.h"

#include "values/strided.h"

namespace pw {
namespace {

enum class Function { add, sub, mul, div, maximum, minimum };
Function function_of(const Problem& p) {
  const auto word = p.word("function");
  return word == "add" ? Function::add : word == "sub" ? Function::sub : word == "mul" ? Function::mul
       : word == "div" ? Function::div : word == "maximum" ? Function::maximum : Function::minimum;
}

// a[i] = f(a[i], b[i]). A NaN is handed on.
void apply(Function f, float* __restrict a, const float* __restrict b, int64_t n) noexcept {
  switch (f) {
    case Function::add: for (int64_t i = 0; i < n; ++i) a[i] += b[i]; break;
    case Function::sub: for (int64_t i = 0; i < n; ++i) a[i] -= b[i]; break;
    case Function::mul: for (int64_t i = 0; i < n; ++i) a[i] *= b[i]; break;
    case Function::div: for (int64_t i = 0; i < n; ++i) a[i] /= b[i]; break;
    case Function::maximum: for (int64_t i = 0; i < n; ++i) a[i] = a[i] > b[i] || std::isnan(a[i]) ? a[i] : b[i]; break;
    case Function::minimum: for (int64_t i = 0; i < n; ++i) a[i] = a[i] < b[i] || std::isnan(a[i]) ? a[i] : b[i]; break;
  }
}

class QuantisedBinaryKernel : public AnyKernel {
 public:
  QuantisedBinaryKernel(const Problem& p, const Constants& constants, Layout images, const Linear& kernel)
      : AnyKernel(p, constants, images), kernel_(kernel), function_(function_of(p)),
        signed_{p.in[0].dtype == DType::i8, p.in[1].dtype == DType::i8, p.out[0].dtype == DType::i8} {}

  int run(const Context& c) noexcept override {
    const Operand in[2] = {operands_.in(0, c), operands_.in(1, c)};
    Loops<3> loops;
    broadcast_loops<2>(in, operands_.out(0, c), loops);
    const int64_t zero[3] = {0, 0, 0}, *step = loops.count ? loops.loop[loops.count - 1].step : zero;
    in_pieces(c.team, loops.total, 1024, 2 * loops.total, [&](int64_t first, int64_t last) {
      const float* scales[3];
      int32_t points[3];
      for (size_t i = 0; i < 3; ++i) {
        scales[i] = operands_.in(2 + 2 * i, c).as<float>();
        const Operand point = operands_.in(3 + 2 * i, c);
        points[i] = signed_[i] ? *point.as<int8_t>() : *point.as<uint8_t>();
      }
      walk(loops, first, last, [&](const int64_t* at, int64_t n) {
        alignas(64) float a[kChunk], b[kChunk];
        const LinearArgs end{scales[2], &points[2], false, signed_[2] ? -128 : 0, signed_[2] ? 127 : 255, 0};
        const auto real = [&](int i, int64_t done, int64_t some, float* to) {
          const LinearArgs args{scales[i], &points[i], false, 0, 0, 0};
          const Stored8 stored = signed_[i] ? Stored8::i8 : Stored8::u8;
          const auto* from = in[i].as<uint8_t>() + at[i];
          if (step[i] == 1) return kernel_.dequantise(&args, from + done, stored, to, some);
          if (step[i] == 0) {
            if (done) return;  // of the chunk before
            kernel_.dequantise(&args, from, stored, to, 1);
            std::fill_n(to, some, *to);
            return;
          }
          uint8_t gathered[kChunk];
          for (int64_t k = 0; k < some; ++k) gathered[k] = from[(done + k) * step[i]];
          kernel_.dequantise(&args, gathered, stored, to, some);
        };
        for (int64_t done = 0; done < n; done += kChunk) {
          const int64_t some = std::min(kChunk, n - done);
          real(0, step[0] ? done : 0, some, a);  // results were put in the place of the one number
          real(1, done, some, b);
          apply(function_, a, b, some);
          kernel_.quantise(&end, a, static_cast<uint8_t*>(c.out[0]) + at[2] + done, 1, some);
        }
      });
    });
    return 0;
  }

 private:
  static constexpr int64_t kChunk = 512;
  const Linear& kernel_;
  Function function_;
  bool signed_[3];
};

class QuantisedBinary : public AnyRoutine, public Estimating {
 public:
  explicit QuantisedBinary(Layout images) : AnyRoutine("quantised_binary", "loops", images) {}
  Verdict accepts(const Problem& p) const override { return basics(p); }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_LINEAR); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.055); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<QuantisedBinaryKernel>(p, constants, images_, variant_ukernel<Linear>(PW_KIND_LINEAR, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<QuantisedBinary>(images);
}
}  // namespace PW_COLLECT
}  // namespace pw
