// linear_attention/steps: one position after another; the columns of a state do not depend on each other, and are shared out.
#include <cmath>
#include <cstring>

#include "ukernels/kinds/attention_f32.h"
#include "ukernels/kinds/gevm_f32.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr int64_t kColumns = 32;  // of a state in a piece: with 128 rows they stay in the first cache

class StepsKernel : public AnyKernel {
 public:
  StepsKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), kernel_(best_ukernel<AttentionF32>(PW_KIND_ATTENTION_F32)),
        gevm_(best_ukernel<GevmF32>(PW_KIND_GEVM_F32)), heads_(p.integer("heads")), groups_(p.integer("kv_heads")),
        scale_(p.number("scale")), has_state_(p.has(3)), has_decay_(p.has(4)), has_rate_(p.has(5)) {}

  // The numbers of heads, and so widths, are fixed.
  bool open(size_t, size_t axis) const override { return axis == 0; }

  int run(const Context& c) noexcept override {
    const Operand q = operands_.in(0, c), k = operands_.in(1, c), v = operands_.in(2, c);
    const int64_t length = q.size[1], depth = q.size[2] / heads_, width = v.size[2] / groups_, shared = heads_ / groups_;
    const Operand state = has_state_ ? operands_.in(3, c) : Operand{}, decay = has_decay_ ? operands_.in(4, c) : Operand{},
                  rate = has_rate_ ? operands_.in(5, c) : Operand{};
    const auto factor = static_cast<float>(scale_ != 0 ? scale_ : 1 / std::sqrt(static_cast<double>(depth)));
    const int64_t blocks = (width + kColumns - 1) / kColumns, all = q.size[0] * groups_ * blocks;
    auto* y = static_cast<float*>(c.out[0]);
    auto* kept = static_cast<float*>(c.out[1]);
    c.team.each(all, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t pair = i / blocks, b = pair / groups_, g = pair % groups_, e0 = i % blocks * kColumns;
        const int64_t n = std::min(kColumns, width - e0);
        float* s = kept + pair * depth * width + e0;
        for (int64_t d = 0; d < depth; ++d) {
          const float* from = has_state_ ? state.as<float>() + (pair * depth + d) * width + e0 : nullptr;
          if (from) std::memcpy(s + d * width, from, static_cast<size_t>(n) * 4);
          else std::memset(s + d * width, 0, static_cast<size_t>(n) * 4);
        }
        for (int64_t t = 0; t < length; ++t) {
          const int64_t at = b * length + t;
          if (has_decay_) forget(decay, at, g, depth, s, width, n);
          const float* key = k.as<float>() + (at * groups_ + g) * depth;
          float u[kColumns] = {};
          const float* value = v.as<float>() + (at * groups_ + g) * width + e0;
          if (has_rate_) {
            gevm_.run(key, s, width, depth, n, u);
            const int64_t rates = rate.size[2];
            const float r = rate.as<float>()[at * rates + (rates == 1 ? 0 : g)];
            for (int64_t e = 0; e < n; ++e) u[e] = r * (value[e] - u[e]);
          } else {
            std::memcpy(u, value, static_cast<size_t>(n) * 4);
          }
          for (int64_t d = 0; d < depth; ++d) kernel_.add(u, key[d], s + d * width, n);
          for (int64_t h = g * shared; h < (g + 1) * shared; ++h) {
            float sums[kColumns] = {};
            gevm_.run(q.as<float>() + (at * heads_ + h) * depth, s, width, depth, n, sums);
            kernel_.scale(sums, factor, y + (at * heads_ + h) * width + e0, n);
          }
        }
      }
    });
    return 0;
  }

 private:
  void forget(const Operand& decay, int64_t at, int64_t g, int64_t depth, float* s, int64_t width, int64_t n) const {
    const int64_t per_group = decay.size[2] / groups_;
    const float* from = decay.as<float>() + (at * groups_ + g) * per_group;
    float factor = std::exp(from[0]);
    for (int64_t d = 0; d < depth; ++d) {
      if (per_group > 1) factor = std::exp(from[d]);
      kernel_.scale(s + d * width, factor, s + d * width, n);
    }
  }

  const AttentionF32& kernel_;
  const GevmF32& gevm_;
  int64_t heads_, groups_;
  double scale_;
  bool has_state_, has_decay_, has_rate_;
};

class Steps : public AnyRoutine {
 public:
  Steps() : AnyRoutine("linear_attention", "steps") { card_.id = "linear_attention/steps:f32:plain:cpu"; }
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    for (const Tensor& t : p.in) {
      if (t.present && t.dtype != DType::f32) return Verdict::no("an element type is not f32");
      if (t.present && t.count() == 0) return Verdict::no("a tensor is empty");
    }
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<StepsKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Steps>(); }
}  // namespace PW_COLLECT

}  // namespace pw
