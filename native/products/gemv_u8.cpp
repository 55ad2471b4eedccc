#include "products/gemv_u8.h"

namespace pw {

GemvWeightsU8::GemvWeightsU8(const Constant& weights, const float* bias, int64_t depth, int64_t columns, Scale in)
    : depth_(depth), columns_(columns) {
  const int64_t bytes = round_up(columns * depth, 64);
  packed_ = shared_packing(weights.id, "gemv_u8/" + std::to_string(columns), [&] {
    Buffer packed(static_cast<size_t>(bytes + columns * 8));
    float* scales = reinterpret_cast<float*>(packed.as<char>() + bytes);
    int32_t* sums = reinterpret_cast<int32_t*>(scales + columns);
    parallel_for(columns, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c) {
        const float* w = weights.as<float>() + c * depth;
        scales[c] = product_scale(depth, [&](int64_t i) { return w[i]; });
        sums[c] = 0;
        for (int64_t i = 0; i < depth; ++i) {
          const int32_t q = quantised_weight(w[i], scales[c]);
          packed.as<int8_t>()[c * depth + i] = static_cast<int8_t>(q);
          sums[c] += q;
        }
      }
    });
    return packed;
  });
  const float* scales = reinterpret_cast<const float*>(packed_->as<char>() + bytes);
  const int32_t* sums = reinterpret_cast<const int32_t*>(scales + columns);
  factors_ = Buffer(static_cast<size_t>(columns * 12));
  for (int64_t c = 0; c < columns; ++c) {
    factors_.as<int32_t>()[c] = -in.zero * sums[c];
    factors_.as<float>()[columns + c] = in.scale * scales[c];
    factors_.as<float>()[2 * columns + c] = bias ? bias[c] : 0.0f;
  }
}

}  // namespace pw
