// dense/gemv: one row of x against the weights where they lie; nothing is packed, the memory's bandwidth decides.
#include "base/error.h"
#include "routines/dense/dense.h"
#include "ukernels/kinds/activation.h"
#include "ukernels/kinds/gemv_f32.h"

namespace pw {
namespace {

class GemvKernel : public Kernel {
 public:
  GemvKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : shape_(p), add_(p.epilogue.add), weights_(constants[1].as<float>()), bias_(dense_bias(p, constants)),
        act_(*epilogue_activation(p)) {
    kernel_ = ukernel<GemvF32>(PW_KIND_GEMV_F32, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    activation_ = ukernels_of<ActivationF32>(PW_KIND_ACTIVATION_F32, true).front().second;
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = std::clamp<int64_t>(shape_.columns / (8 * p.threads), 1, 64);
    grain_ = round_up(grain_, kernel_->rows);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    team.each(shape_.columns, grain_, [&](int64_t first, int64_t last) {
      for (int64_t row = 0; row < shape_.rows; ++row) {
        float* to = y + row * shape_.columns + first;
        const int64_t n = last - first;
        kernel_->run(weights_ + first * shape_.depth, shape_.depth, x + row * shape_.depth, shape_.depth, n, to);
        if (bias_)
          for (int64_t i = 0; i < n; ++i) to[i] += bias_[first + i];
        if (residual)
          for (int64_t i = 0; i < n; ++i) to[i] += residual[row * shape_.columns + first + i];
        activation_->run(&act_, to, to, n);
      }
    });
  }

 private:
  DenseShape shape_;
  bool add_;
  const float *weights_, *bias_;  // the constants' own memory
  ActArgs act_;
  const GemvF32* kernel_ = nullptr;
  const ActivationF32* activation_ = nullptr;
  int64_t grain_ = 1;
};

class Gemv : public Routine {
 public:
  Gemv() {
    card_.id = "dense/gemv:f32:plain:cpu";
    card_.layer = "dense";
    card_.takes_epilogue = true;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (DenseShape(p).rows > kRows)
      return Verdict::no("x has more than " + std::to_string(kRows) + " rows, and each would read all weights again");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override {
    std::vector<std::string> names;
    for (const auto& [name, body] : ukernels_of<GemvF32>(PW_KIND_GEMV_F32, true)) names.push_back(name);
    return names;
  }
  Ports ports(const Problem& p) const override { return dense_ports(p); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<GemvKernel>(p, variant, c);
  }

 private:
  // Rows read the same piece of the weights one after another, the later ones from cache.
  static constexpr int64_t kRows = 4;
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Gemv>();
}
}  // namespace PW_COLLECT
}  // namespace pw
