// Rows of a depthwise convolution: what depthwise_conv2/direct and the fused routines that contain one share.
#pragma once
#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "products/geometry.h"
#include "spi/estimate.h"
#include "ukernels/kinds/depthwise_f32.h"
#include "values/stored.h"

namespace pw {

// Of the peak, that a depthwise convolution reaches whose kernel has its own micro-kernel, and one that has not; operations
// in whose time a call begins. Found with bench/estimates.py.
constexpr double kDepthwiseShare = 0.3, kDepthwiseAnyShare = 0.15, kDepthwiseCall = 300;

// The micro-kernels of a kind that apply `act` and are made for this kernel and stride, those first that make the most outputs
// per call of which a row has as many; or the general one. None when the tier has none.
template <class Body>
std::vector<std::string> depthwise_ukernels(const Geometry& g, const std::string& kind, Act act) {
  const bool square = g.kernel_height == g.kernel_width && g.dilation_x == 1 && g.dilation_y == 1;
  std::vector<std::tuple<bool, int64_t, std::string>> found;
  std::string any;
  for (const auto& [name, body] : ukernels_of<Body>(kind, true, act)) {
    const bool longer = body->outputs > g.out_width;
    if (body->kernel == 0) any = name;
    else if (square && body->kernel == g.kernel_width && body->stride == g.stride_x)
      found.emplace_back(longer, longer ? body->outputs : -body->outputs, name);
  }
  if (found.empty()) return any.empty() ? std::vector<std::string>() : std::vector{any};
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (const auto& entry : found) names.push_back(std::get<2>(entry));
  return names;
}
// The first of them, "" when there is none: for routines that have no variant for it.
inline std::string depthwise_ukernel(const Geometry& g, Act act) {
  const auto names = depthwise_ukernels<DepthwiseF32>(g, PW_KIND_DEPTHWISE_F32, act);
  return names.empty() ? "" : names.front();
}

// What a depthwise convolution on one of them does, with channels in blocks of 16 or last.
template <class Body>
Estimate depthwise_estimate(const Geometry& g, const std::string& kind, const std::string& variant, bool blocked) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  Estimate e;
  const Body* body = ukernel<Body>(kind, variant);
  const int64_t step = body ? std::max<int64_t>(1, body->outputs) : 1, calls = divide_up(g.out_width, step);
  const double lines = number(g.images * g.out_height), taps = number(g.taps());
  // The last outputs of a line are computed together with ones before them.
  e.add(2 * lines * number(calls * step * g.outputs) * taps, body && body->kernel ? kDepthwiseShare : kDepthwiseAnyShare);
  // Pointing to pixels and beginning a call.
  e.work += lines * number(calls) * (blocked ? number(g.outputs) / 16 : 1) * (kDepthwiseCall + 16 * taps);
  e.pieces = lines * (number(g.inputs) / 16);
  return e;
}

// The walk along row `oy` of the outputs of one image: points `pixels`, a kernel row after the other, `columns` each, to the
// input pixels of `step` neighbouring outputs, those outside of the image to `outside`, and calls body(first output).
// Row iy of the input begins at image + iy * width pixels of `channels`; only rows that the kernel covers are addressed.
// The last outputs of a row are computed together with the ones before them, some of which are then computed twice: a
// whole group is faster than a part of one.
template <class T, class Body>
void walk_outputs(const Geometry& g, int64_t oy, int64_t step, int64_t columns, int64_t channels, const T* image,
                  const T* outside, const T** pixels, Body&& body) {
  // Kernel rows [top, bottom) lie inside of the image; those above and below it point outside all along.
  const int64_t y0 = oy * g.stride_y - g.pad_top;
  int64_t top = 0, bottom = g.kernel_height;
  while (top < bottom && y0 + top * g.dilation_y < 0) ++top;
  while (bottom > top && y0 + (bottom - 1) * g.dilation_y >= g.height) --bottom;
  const int64_t first = top * columns, last = bottom * columns;
  std::fill(pixels, pixels + first, outside);
  std::fill(pixels + last, pixels + g.kernel_height * columns, outside);
  bool inside_before = false;
  for (int64_t next = 0, before = 0; next < g.out_width; next += step) {
    const int64_t ox = std::min(next, std::max<int64_t>(0, g.out_width - step));
    const int64_t x0 = ox * g.stride_x - g.pad_left;
    const bool inside = x0 >= 0 && x0 + (columns - 1) * g.dilation_x < g.width;
    if (inside && inside_before) {
      const int64_t distance = (ox - before) * g.stride_x * channels;
      for (int64_t i = first; i < last; ++i) pixels[i] += distance;
    } else {
      for (int64_t ky = top; ky < bottom; ++ky) {
        const T* row = image + (y0 + ky * g.dilation_y) * g.width * channels;
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t ix = x0 + j * g.dilation_x;
          pixels[ky * columns + j] = ix >= 0 && ix < g.width ? row + ix * channels : outside;
        }
      }
    }
    inside_before = inside;
    before = ox;
    body(ox);
  }
}

// Pieces of output rows: whole rows, or parts of their channels where there are too few rows to share them out evenly.
struct RowPieces {
  int64_t rows, parts, grain;

  RowPieces(int64_t count, int64_t channels, int64_t threads) : rows(count), parts(1) {
    while (threads > 1 && rows * parts < 8 * threads && channels >= 256 * parts) parts *= 2;
    grain = std::max<int64_t>(1, rows / (8 * threads));
  }
  // Calls body(row, first channel, channels) for the pieces that this thread takes; first channels are multiples of 16.
  template <class Body>
  void each(Team& team, int64_t channels, Body&& body) const {
    const EvenParts blocks(divide_up(channels, 16), parts);
    team.each(rows * parts, grain, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const auto [block, count] = blocks[i % parts];
        body(i / parts, block * 16, std::min(channels - block * 16, count * 16));
      }
    });
  }
};

// Weights and bias packed, and the walk along one row of outputs. `channels`: of a pixel as it lies in memory (16 in
// nchw16c, where the weights of a block begin at `block`); `out_channels`: of a pixel of the result, 0 = as many.
template <class T>
class DepthwiseRowsOf {
 public:
  DepthwiseRowsOf(const Geometry& g, const std::string& variant, int64_t channels, const float* weights,
                  const float* bias, const ActArgs& act, int64_t out_channels = 0)
      : g_(g), act_(act), channels_(channels), out_channels_(out_channels ? out_channels : channels),
        kernel_(ukernel<DepthwiseOf<T>>(kind(), variant)) {
    if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
    columns_ = kernel_->kernel ? (kernel_->outputs - 1) * kernel_->stride + kernel_->kernel : g.kernel_width;
    const int64_t lanes = kernel_->lanes, taps = g.taps(), padded = round_up(g.inputs, lanes);
    weights_ = Buffer(static_cast<size_t>(padded * taps) * 4);
    for (int64_t c = 0; c < padded; ++c)
      for (int64_t t = 0; t < taps; ++t)
        weights_.as<float>()[(c / lanes * taps + t) * lanes + c % lanes] = c < g.inputs ? weights[c * taps + t] : 0.0f;
    bias_ = pack_bias(bias, g.inputs, 16);
    const int64_t most = g.kernel_width / 2, end = (g.out_width - 1) * g.stride_x - g.pad_left + g.kernel_width;
    regular_ = kernel_->regular && g.out_width >= kernel_->outputs && g.pad_left <= most && end - g.width <= most;
    zeros_ = reinterpret_cast<const T*>(zero_row(channels));
  }
  static std::string kind() { return stored_kind<T>(PW_KIND_DEPTHWISE); }

  // Bytes of the pointers to pixels that one thread needs.
  int64_t pointer_bytes() const { return round_up(g_.kernel_height * columns_ * 8, 64); }
  size_t packed_bytes() const { return weights_.bytes() + bias_.bytes(); }

  // Channels [first, first + count) of row `oy` of the outputs of one image; `first` is a multiple of 16. Row iy of the
  // input begins at image + iy * width pixels; only rows that the kernel covers are read. `image`, `y` (the row's first
  // output) and `residual` (may be null) point to the first of these channels.
  void output_row(const T* image, int64_t oy, int64_t first, int64_t count, T* y, const T* residual,
                  const T** pixels) const noexcept {
    DepthwiseArgs<T> args{};
    args.pixels = pixels;
    args.weights = weights_.as<float>() + first * g_.taps();
    args.bias = bias_.as<float>() + first;
    args.channels = count;
    args.y_pixel = out_channels_;
    args.taps = g_.taps();
    args.act = act_;
    const int64_t step = kernel_->outputs;
    auto run = [&](void (*kernel)(const DepthwiseArgs<T>*), int64_t ox) {
      args.columns = std::min(step, g_.out_width - ox);
      args.y = y + ox * out_channels_;
      args.residual = residual ? residual + ox * out_channels_ : nullptr;
      kernel(&args);
    };
    if (!regular_) {
      walk_outputs(g_, oy, step, columns_, channels_, image, zeros_, pixels, [&](int64_t ox) { run(kernel_->run, ox); });
      return;
    }
    const int64_t y0 = oy * g_.stride_y - g_.pad_top;
    args.top = std::clamp<int64_t>(-y0, 0, g_.kernel_height);
    args.rows = std::max<int64_t>(0, std::min(g_.kernel_height, g_.height - y0) - args.top);
    args.x_row = g_.width * channels_;
    args.x_pixel = channels_;
    args.outside = zeros_;
    for (int64_t next = 0; next < g_.out_width; next += step) {
      // The last outputs together with those before them, as above.
      const int64_t ox = std::min(next, g_.out_width - step), x0 = ox * g_.stride_x - g_.pad_left;
      args.left = std::max<int64_t>(0, -x0);
      args.right = std::max<int64_t>(0, x0 + columns_ - g_.width);
      args.x = image + ((y0 + args.top) * g_.width + x0 + args.left) * channels_;
      run(kernel_->regular, ox);
    }
  }

 private:
  Geometry g_;
  ActArgs act_;
  int64_t channels_, out_channels_, columns_;
  const DepthwiseOf<T>* kernel_;
  bool regular_ = false;
  Buffer weights_, bias_;
  const T* zeros_;
};
using DepthwiseRows = DepthwiseRowsOf<float>;

}  // namespace pw
