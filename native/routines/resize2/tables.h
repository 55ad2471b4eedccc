// What the routines of resize2 share: tables of source pixels per axis. Source of the coordinates: ONNX Resize.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "values/tables.h"

namespace pw {

// Source pixels of every output pixel along one axis; `weight` is that of `high`, in [0, 1) where
// it is not nearest.
struct ResizeTable {
  std::vector<int64_t> low, high;
  std::vector<double> weight;
  // Offsets of pixels of `channels` elements.
  void widen(int64_t channels) {
    for (auto* list : {&low, &high})
      for (int64_t& i : *list) i *= channels;
  }
};

// In float32, as the layer's meaning computes it.
inline double resize_position(int64_t o, int64_t out, int64_t length, float scale, std::string_view coordinates) {
  const float i = static_cast<float>(o);
  if (coordinates == "asymmetric") return i / scale;
  if (coordinates == "align_corners")
    return out > 1 ? i * static_cast<float>(length - 1) / static_cast<float>(out - 1) : 0.0f;
  if (coordinates == "pytorch_half_pixel" && out == 1) return 0.0;
  return (i + 0.5f) / scale - 0.5f;
}

inline double resize_rounded(double x, std::string_view rounding) {
  if (rounding == "floor") return std::floor(x);
  if (rounding == "ceil") return std::ceil(x);
  return rounding == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

inline ResizeTable resize_table(const Problem& p, size_t axis) {
  const int64_t length = p.in[0].shape[2 + axis], out = p.out[0].shape[2 + axis];
  const auto scales = p.numbers("scale");
  const float scale = scales.empty() ? static_cast<float>(out) / static_cast<float>(length)
                                     : static_cast<float>(scales[scales.size() - 2 + axis]);
  auto inside = [&](double i) { return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(length - 1))); };
  const auto coordinates = p.word("coordinates"), rounding = p.word("rounding");
  const bool nearest = p.word("mode") == "nearest";
  ResizeTable t;
  for (int64_t o = 0; o < out; ++o) {
    const double at = resize_position(o, out, length, scale, coordinates);
    const double low = nearest ? resize_rounded(at, rounding) : std::floor(at);
    t.low.push_back(inside(low));
    t.high.push_back(inside(low + 1));
    t.weight.push_back(at - low);
  }
  return t;
}

inline Verdict accepts_resize(const Problem& p) {
  if (p.in.size() != 1 || p.dynamic().size() != 1 || p.out[0].shape.size() != 4)
    return Verdict::no("it takes one image and its size as an attribute");
  if (p.word("mode") != "nearest" && p.word("mode") != "bilinear")
    return Verdict::no("its mode is " + std::string(p.word("mode")));
  return fits_table(p, p.out[0].shape[2] + p.out[0].shape[3], 32);
}

}  // namespace pw
