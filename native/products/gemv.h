// The kernel of dense/gemv and conv2/gemv: rows of x against weights where they lie.
#pragma once
#include "products/matrix.h"
#include "spi/estimate.h"
#include "ukernels/kinds/gemv_f32.h"
#include "values/stored.h"

namespace pw {

// y = act(x @ w.T + bias + residual): x rows x depth, w columns x depth.
struct GemvProblem {
  int64_t rows, depth, columns;
  Constant weights;
  const float* bias;  // may be null
  ActArgs act;
  bool add;
  int threads;
};

// Rows read the same piece of the weights one after another, the later ones from cache.
constexpr int64_t kMostGemvRows = 4;

// The micro-kernels for weights W and values X.
template <class W, class X>
std::string gemv_kind() {
  return stored_kind<W>(PW_KIND_GEMV) + (kStored<W> == kStored<X> ? "" : "_f32");
}

// What the ids of routines with weights W and values X say: that of W, with "_in_f32" behind the algorithm where
// X alone is float.
template <class W, class X>
std::string gemv_id(const std::string& stem, Layout layout) {
  return stem + (kStored<W> == kStored<X> ? ":" : "_in_f32:") + text(kStored<W>) + ":" + text(layout) + ":cpu";
}

// Of rows against columns x depth weights of so many bytes each.
inline Estimate gemv_estimate(double rows, double depth, double columns, size_t bytes) {
  constexpr double kShare = 0.25;  // of the peak: every product is loaded
  Estimate e;
  e.add(2 * rows * depth * columns, kShare);
  // Where rows are short, the next one is fetched late.
  e.constants = depth * columns * static_cast<double>(bytes) * (1.25 + 200 / depth);
  e.pieces = columns;
  return e;
}

// W, X: how the weights and the values lie. Floats are read where the net has them; 16 bits are a copy of half the bytes.
template <class W, class X>
class GemvKernel : public PieceKernel {
 public:
  GemvKernel(const GemvProblem& problem, const std::string& variant) : p_(problem) {
    kernel_ = &variant_ukernel<GemvOf<W, X>>(gemv_kind<W, X>(), variant);
    activation_ = &best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, p_.act.act);
    if constexpr (!std::is_same_v<X, float>) convert_ = &best_ukernel<Convert>(stored_kind<X>(PW_KIND_CONVERT));
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = round_up(std::clamp<int64_t>(p_.columns / (8 * p_.threads), 1, kGrain), kernel_->rows);
    if constexpr (std::is_same_v<W, float>) {
      weights_ = p_.weights.as<float>();
    } else {
      packed_ = shared_packing(p_.weights.id, stored_kind<W>("gemv/"), [&] {
        Buffer packed(static_cast<size_t>(p_.columns * p_.depth) * sizeof(W));
        parallel_for(p_.columns, [&](int64_t first, int64_t last) {
          store_floats(p_.weights.as<float>() + first * p_.depth, packed.as<W>() + first * p_.depth,
                       (last - first) * p_.depth);
        });
        return packed;
      });
      weights_ = packed_->template as<W>();
    }
  }

  size_t packed_bytes() const override { return packed_ ? packed_->bytes() : 0; }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const auto piece = Team::own_first(divide_up(p_.columns, grain_), index, count);
    if (!piece) return {};
    const int64_t first = *piece * grain_;
    return {weights_ + first * p_.depth, static_cast<uint64_t>((p_.columns - first) * p_.depth) * sizeof(W)};
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const X*>(in[0]);
    const auto* residual = p_.add ? static_cast<const X*>(in[1]) : nullptr;
    auto* y = static_cast<X*>(out[0]);
    team.each(p_.columns, grain_, [&](int64_t first, int64_t last) {
      for (int64_t row = 0; row < p_.rows; ++row) {
        const int64_t at = row * p_.columns + first;
        piece(x + row * p_.depth, first, last - first, residual ? residual + at : nullptr, y + at);
      }
    });
  }

 private:
  static constexpr int64_t kGrain = 64, kMostKernelRows = 8;

  // Outputs [first, first + n) of one row; n is at most the grain.
  void piece(const X* x, int64_t first, int64_t n, const X* residual, X* y) const noexcept {
    float own[kGrain + kMostKernelRows];
    float* to = own;
    if constexpr (std::is_same_v<X, float>) to = y;
    kernel_->run(weights_ + first * p_.depth, p_.depth, x, p_.depth, n, to);
    if (p_.bias)
      for (int64_t i = 0; i < n; ++i) to[i] += p_.bias[first + i];
    if (residual)
      for (int64_t i = 0; i < n; ++i) to[i] += as_float(residual[i]);
    activation_->run(&p_.act, to, to, n);
    if constexpr (!std::is_same_v<X, float>) convert_->narrow(to, &y->bits, n);
  }

  GemvProblem p_;
  const W* weights_ = nullptr;
  std::shared_ptr<const Buffer> packed_;
  const GemvOf<W, X>* kernel_ = nullptr;
  const ActivationF32* activation_ = nullptr;
  const Convert* convert_ = nullptr;  // of X, where it is not float
  int64_t grain_ = 1;
};

}  // namespace pw
