// dense/sparse: few rows of x against weights without their zeros: values with their places, or with a bit for each weight.
// Such layers wait for memory; at 80 % zeros that is two fifths, or a quarter, of the bytes.
#include <cstring>

#include "base/error.h"
#include "products/gemv.h"
#include "products/sparse.h"
#include "routines/dense/dense.h"
#include "ukernels/kinds/sparse_gemv_f32.h"

namespace pw {
namespace {

class SparseGemvKernel : public PieceKernel {
 public:
  SparseGemvKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : s_(p), act_(*epilogue_activation(p)), add_(p.epilogue.add), bias_(bias_of(p, constants)),
        bytes_((s_.depth + 7) / 8) {
    kernel_ = ukernel<SparseGemvF32>(PW_KIND_SPARSE_GEMV_F32, variant);
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    activation_ = &best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, act_.act);
    grain_ = std::clamp<int64_t>(s_.columns / (8 * p.threads), 1, 64);
    if (kernel_->pairs)
      pairs_ = SparseRows(constants[1], s_.columns, s_.depth, "dense",
                          [](int64_t, int64_t k) { return static_cast<int32_t>(k); });
    else
      packed_ = shared_packing(constants[1].id, "masks", [&] { return pack(constants[1].as<float>()); });
  }

  size_t packed_bytes() const override { return kernel_->pairs ? pairs_.bytes() : packed_->bytes(); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    team.each(s_.columns, grain_, [&](int64_t first, int64_t last) {
      const int64_t n = last - first;
      SparseGemvF32Args args{nullptr, nullptr, nullptr, nullptr, x, y + first, s_.depth, s_.columns, s_.depth, n, s_.rows};
      if (kernel_->pairs) {
        args.pairs = pairs_.at(0);
        args.starts = pairs_.starts() + first;
      } else {
        args.masks = packed_->as<uint8_t>() + masks_at() + first * bytes_;
        args.values = reinterpret_cast<const float*>(packed_->as<char>() + values_at());
        args.starts = packed_->as<int64_t>() + first;
      }
      kernel_->run(&args);
      for (int64_t row = 0; row < s_.rows; ++row) {
        float* to = y + row * s_.columns + first;
        if (bias_)
          for (int64_t i = 0; i < n; ++i) to[i] += bias_[first + i];
        if (residual)
          for (int64_t i = 0; i < n; ++i) to[i] += residual[row * s_.columns + first + i];
        activation_->run(&act_, to, to, n);
      }
    });
  }

 private:
  // The packed weights: where each output's values begin, masks, values.
  int64_t masks_at() const { return (s_.columns + 1) * 8; }
  int64_t values_at() const { return round_up(masks_at() + s_.columns * bytes_, 64); }

  Buffer pack(const float* w) const {
    const int64_t outputs = s_.columns, depth = s_.depth;
    std::vector<int64_t> ends(static_cast<size_t>(outputs));
    parallel_for(outputs, [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o)
        for (int64_t k = 0; k < depth; ++k) ends[static_cast<size_t>(o)] += w[o * depth + k] != 0.0f;
    });
    for (size_t o = 1; o < ends.size(); ++o) ends[o] += ends[o - 1];
    constexpr int64_t kBehind = 16;  // floats that a last load may reach
    Buffer packed(static_cast<size_t>(values_at() + (ends.back() + kBehind) * 4));
    auto* starts = packed.as<int64_t>();
    auto* masks = packed.as<uint8_t>() + masks_at();
    auto* values = reinterpret_cast<float*>(packed.as<char>() + values_at());
    starts[outputs] = ends.back();
    std::memset(masks, 0, static_cast<size_t>(outputs * bytes_));
    std::memset(values + ends.back(), 0, kBehind * 4);
    parallel_for(outputs, [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o) {
        starts[o] = o > 0 ? ends[static_cast<size_t>(o - 1)] : 0;
        float* to = values + starts[o];
        for (int64_t k = 0; k < depth; ++k)
          if (const float value = w[o * depth + k]; value != 0.0f) {
            masks[o * bytes_ + k / 8] |= static_cast<uint8_t>(1 << k % 8);
            *to++ = value;
          }
      }
    });
    return packed;
  }

  DenseShape s_;
  ActArgs act_;
  bool add_;
  const float* bias_;
  int64_t bytes_, grain_ = 1;  // bytes of masks per output
  const SparseGemvF32* kernel_ = nullptr;
  const ActivationF32* activation_ = nullptr;
  std::shared_ptr<const Buffer> packed_;
  SparseRows pairs_;
};

class DenseSparse : public Routine {
 public:
  DenseSparse() : Routine({.id = "dense/sparse:f32:plain:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p, PW_KIND_ACTIVATION_F32); !v) return v;
    if (Verdict v = accepts_zeros(p); !v) return v;
    if (DenseShape(p).rows > kMostGemvRows)
      return Verdict::no("x has more than " + std::to_string(kMostGemvRows) + " rows; see dense/sparse_batch");
    if (variants(p).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override {
    std::vector<std::string> names;
    for (const auto& [name, body] : ukernels_of<SparseGemvF32>(PW_KIND_SPARSE_GEMV_F32, true)) names.push_back(name);
    return names;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<SparseGemvKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DenseSparse>(); }
}  // namespace PW_COLLECT
}  // namespace pw
