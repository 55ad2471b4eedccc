// Shapes of a transposed convolution, and its phases: outputs whose row and column leave the same rests when divided by
// the strides are reached by the same taps. Each phase is a convolution of stride 1 over the input where it lies.
#pragma once
#include <algorithm>
#include <tuple>
#include <vector>

#include "products/geometry.h"

namespace pw {

// One axis: output o takes tap k of input i where o + pad == i * stride + k * dilation.
struct TransposedAxis {
  int64_t in, out, kernel, stride, pad, dilation;

  // k * dilation == distance * stride + rest: outputs of that rest lie `distance` inputs behind the one that the tap reads.
  struct Tap {
    int64_t rest, distance, k;
  };
  // By rest, then by distance.
  std::vector<Tap> taps() const {
    std::vector<Tap> found;
    for (int64_t k = 0; k < kernel; ++k) found.push_back({k * dilation % stride, k * dilation / stride, k});
    std::sort(found.begin(), found.end(),
              [](const Tap& a, const Tap& b) { return std::tie(a.rest, a.distance) < std::tie(b.rest, b.distance); });
    return found;
  }
  int64_t rest(int64_t o) const { return (o + pad) % stride; }
  // The input that reaches output o at distance 0.
  int64_t base(int64_t o) const { return (o + pad) / stride; }
  // Rests that outputs have: no more than there are outputs, however large the stride is.
  int64_t rests() const { return std::min(stride, out); }
};

// Those of a list that is ordered as TransposedAxis::taps orders it.
inline auto taps_of(const std::vector<TransposedAxis::Tap>& taps, int64_t rest) {
  const auto before = [](const TransposedAxis::Tap& a, const TransposedAxis::Tap& b) { return a.rest < b.rest; };
  return std::equal_range(taps.begin(), taps.end(), TransposedAxis::Tap{rest, 0, 0}, before);
}

struct Tap {
  int64_t y, x;   // distance from the phase's position to the input pixel, towards the origin
  int64_t index;  // in the kernel
};

struct Phase {
  int64_t first_y, first_x;  // first output pixel; the next ones are a stride away
  int64_t height, width;     // outputs of one image
  int64_t base_y, base_x;    // input pixel of the first output at distance 0
  std::vector<Tap> taps;
};

struct TransposedGeometry {
  int64_t images, inputs, height, width, outputs, kernel_height, kernel_width, out_height, out_width;
  int64_t stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x, groups;

  explicit TransposedGeometry(const Problem& p) {
    const auto &x = p.in[0].shape, &w = p.in[1].shape, &y = p.out[0].shape;
    images = x[0], inputs = x[1], height = x[2], width = x[3];
    kernel_height = w[2], kernel_width = w[3];
    outputs = y[1], out_height = y[2], out_width = y[3];
    const auto stride = p.integers("stride"), pad = p.integers("pad"), dilation = p.integers("dilation");
    stride_y = stride[0], stride_x = stride[1], pad_top = pad[0], pad_left = pad[1];
    dilation_y = dilation[0], dilation_x = dilation[1];
    groups = p.integer("groups");
  }

  TransposedAxis rows() const { return {height, out_height, kernel_height, stride_y, pad_top, dilation_y}; }
  TransposedAxis columns() const { return {width, out_width, kernel_width, stride_x, pad_left, dilation_x}; }
  int64_t phase_columns() const { return columns().rests(); }
  int64_t phase_count() const { return rows().rests() * columns().rests(); }

  // A phase has tables and packed weights of its own: where nearly every output is a phase they would outgrow the outputs.
  Verdict few_phases() const {
    constexpr int64_t kMost = 4096;
    if (phase_count() <= kMost) return Verdict::ok();
    return Verdict::no("there are " + std::to_string(phase_count()) + " phases, more than " + std::to_string(kMost));
  }

  // Each output meets all taps of its phase, of which only those that read the image count: few of a kernel that is far larger
  // than the image.
  Verdict few_taps_outside() const {
    const auto along = [](const TransposedAxis& a) { return static_cast<double>(a.base(a.out - 1) + 1 - a.base(0)); };
    return taps_meet_image(along(rows()) * along(columns()), static_cast<double>(height) * static_cast<double>(width),
                           static_cast<double>(kernel_height) * static_cast<double>(kernel_width));
  }

  // The phases in the order of their first outputs: that of output (y, x) is number y % stride_y * phase_columns() +
  // x % stride_x.
  std::vector<Phase> phases() const {
    std::vector<Phase> found;
    const auto taps_y = rows().taps(), taps_x = columns().taps();
    for (int64_t y = 0; y < rows().rests(); ++y)
      for (int64_t x = 0; x < columns().rests(); ++x) {
        Phase f{y, x, divide_up(out_height - y, stride_y), divide_up(out_width - x, stride_x), rows().base(y), columns().base(x),
                {}};
        const auto [first_y, last_y] = taps_of(taps_y, rows().rest(y));
        const auto [first_x, last_x] = taps_of(taps_x, columns().rest(x));
        for (auto ky = first_y; ky != last_y; ++ky)
          for (auto kx = first_x; kx != last_x; ++kx)
            f.taps.push_back({ky->distance, kx->distance, ky->k * kernel_width + kx->k});
        found.push_back(std::move(f));
      }
    return found;
  }
};

// A line of one column is a line of one row: the same memory in each layout, and outputs that lie side by side.
inline TransposedGeometry lying(TransposedGeometry g) {
  if (g.width == 1 && g.kernel_width == 1 && g.out_width == 1 && g.pad_left == 0) {
    std::swap(g.height, g.width), std::swap(g.kernel_height, g.kernel_width), std::swap(g.out_height, g.out_width);
    std::swap(g.stride_y, g.stride_x), std::swap(g.pad_top, g.pad_left), std::swap(g.dilation_y, g.dilation_x);
  }
  return g;
}

}  // namespace pw
