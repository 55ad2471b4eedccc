// causal_conv/rows: each channel by itself; the taps are added one after another to a run of outputs.
#include <cstring>

#include "ukernels/kinds/attention_f32.h"
#include "values/strided.h"

namespace pw {
namespace {

class CausalKernel : public AnyKernel {
 public:
  CausalKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), kernel_(best_ukernel<AttentionF32>(PW_KIND_ATTENTION_F32)), has_bias_(p.has(2)),
        has_state_(p.has(3)) {}

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), w = operands_.in(1, c);
    const int64_t channels = x.size[1], n = x.size[2], taps = w.size[2], rows = x.size[0] * channels, kept = taps - 1;
    const float* bias = has_bias_ ? operands_.in(2, c).as<float>() : nullptr;
    const float* state = has_state_ ? operands_.in(3, c).as<float>() : nullptr;
    in_pieces(c.team, rows, std::max<int64_t>(1, 512 / std::max<int64_t>(1, n * taps)), rows * (n + 4) * taps,
              [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const float* from = x.as<float>() + r * n;
        const float* before = state ? state + r * kept : nullptr;
        const float* factor = w.as<float>() + r % channels * taps;
        float* y = static_cast<float*>(c.out[0]) + r * n;
        float* next = static_cast<float*>(c.out[1]) + r * kept;
        std::fill(y, y + n, bias ? bias[r % channels] : 0.0f);
        for (int64_t j = 0; j < taps; ++j) {
          const int64_t back = kept - j, old = std::min(back, n);  // outputs that read what lies before
          for (int64_t t = 0; before && t < old; ++t) y[t] += before[t + j] * factor[j];
          if (n > back) kernel_.add(from, factor[j], y + back, n - back);
        }
        for (int64_t i = 0; i < kept; ++i) {
          const int64_t at = n + i - kept;
          next[i] = at >= 0 ? from[at] : before ? before[n + i] : 0.0f;
        }
      }
    });
    return 0;
  }

 private:
  const AttentionF32& kernel_;
  bool has_bias_, has_state_;
};

class CausalRows : public AnyRoutine {
 public:
  CausalRows() : AnyRoutine("causal_conv", "rows") { card_.id = "causal_conv/rows:f32:plain:cpu"; }
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    for (const Tensor& t : p.in)
      if (t.present && t.dtype != DType::f32) return Verdict::no("an element type is not f32");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<CausalKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<CausalRows>(); }
}  // namespace PW_COLLECT

}  // namespace pw
