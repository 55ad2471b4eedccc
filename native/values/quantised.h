// What the routines on u8 values share: the scales of their values, and how their sums become outputs. The arithmetic is
// in docs/accuracy.md and ukernels/kinds/requant_u8.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "spi/activation.h"
#include "spi/routine.h"
#include "ukernels/kinds/requant_u8.h"

namespace pw {

// real = scale * (q - zero)
struct Scale {
  float scale;
  int32_t zero;
  bool operator==(const Scale&) const = default;
};

// The one scale of a value in u8, which is all that these routines take. Throws Error that says what the value has.
inline Scale one_scale(const Constant& c, const std::string& value) {
  if (c.axis >= 0)
    throw Error("the scale of " + value + ": expected one for the whole value, got " + std::to_string(c.scales.size()) +
                " along axis " + std::to_string(c.axis));
  if (c.dtype != DType::u8) throw Error("the scale of " + value + ": expected integers of type u8, got " + text(c.dtype));
  if (!(c.scale > 0)) throw Error("the scale of " + value + " is not known; calibrate the model");
  return {c.scale, c.zero_point};
}
// Of input `i` of the problem, a value.
inline Scale scale_in(const Constants& constants, size_t i) { return one_scale(constants[i], "input " + std::to_string(i)); }
inline Scale scale_out(const Problem& p, const Constants& constants, size_t i = 0) {
  return one_scale(constants[p.in.size() + i], "output " + std::to_string(i));
}

// Outputs of scale `out` after an activation, without a residual.
inline RequantU8 requantise(const ActArgs& act, Scale out) {
  RequantU8 q{};
  q.inverse = 1.0f / out.scale;
  q.zero = out.zero;
  q.low = static_cast<float>(-out.zero);
  q.high = static_cast<float>(255 - out.zero);
  q.act = act;
  if (act.act == Act::clip) {
    const float low = q.low, high = q.high;
    q.low = std::clamp(act.a * q.inverse, low, high);
    q.high = std::clamp(act.b * q.inverse, low, high);
  }
  return q;
}

// The epilogue of a problem; nothing is known of its activation but that micro-kernels have it.
inline RequantU8 requantise(const Problem& p, const Constants& constants) {
  RequantU8 q = requantise(*epilogue_activation(p), scale_out(p, constants));
  if (p.epilogue.add) {
    const Scale residual = scale_in(constants, static_cast<size_t>(p.residual()));
    q.residual_scale = residual.scale;
    q.residual_zero = residual.zero;
  }
  return q;
}

// RequantU8::saturates, where no |y| before a residual is above `most`.
inline bool saturates(const RequantU8& q, float most) {
  return q.low == static_cast<float>(-q.zero) && q.high == static_cast<float>(255 - q.zero) &&
         (most + 255 * q.residual_scale) * q.inverse < 0x1p30f;
}

// The byte of t = y / scale, where nothing is left but to clamp and round.
inline uint8_t byte_of(float t, const RequantU8& q) {
  return static_cast<uint8_t>(static_cast<int32_t>(std::nearbyintf(std::min(std::max(t, q.low), q.high))) + q.zero);
}
// A float as the adapt from f32 quantises it.
inline uint8_t quantised_value(float x, Scale scale) {
  const RequantU8 q = requantise(kNoActivation, scale);
  return byte_of((x == x ? x : 0.0f) * q.inverse, q);
}

// Sums of more terms might not fit 32 bits: of values by weights, and of values by values.
constexpr int64_t kMostTerms = INT32_MAX / (255 * 127), kMostValueTerms = INT32_MAX / (255 * 255);

// Weights of one output channel: q = clamp(rint(w / scale), -127, 127) for the `n` given by at(i).
template <class At>
float weight_scale(int64_t n, At&& at) {
  float most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::abs(at(i)));
  const float scale = most / 127.0f;
  return scale > 0 ? scale : 1.0f;
}
// The same for weights in the order in which a product adds them up, so that no two neighbours 2j and 2j + 1 come to more
// than 128 in size, which micro-kernels that are `narrow` ask for. 127.9 / scale leaves rounding nothing to cross 128 by.
template <class At>
float product_scale(int64_t n, At&& at) {
  float most = 0, pair = 0;
  for (int64_t i = 0; i + 1 < n; i += 2) {
    const float a = at(i), b = at(i + 1);
    most = std::max({most, std::abs(a), std::abs(b)});
    pair = std::max(pair, std::abs(a + b));
  }
  if (n % 2) most = std::max(most, std::abs(at(n - 1)));
  const float scale = std::max(most / 127.0f, pair / 127.9f);
  return scale > 0 ? scale : 1.0f;
}
inline int32_t quantised_weight(float w, float scale) {
  // Adding 1.5 * 2^23 rounds to an integer, ties to even: a library call less for each of a hundred million weights.
  const float magic = 12582912.0f, q = (w / scale + magic) - magic;
  return q > -127.0f ? static_cast<int32_t>(std::min(q, 127.0f)) : -127;
}

}  // namespace pw
