// conv2/sparse: weights without their zeros, each multiplied by vectors of pixels, channels first. What a zero would have
// cost is not done; what is left costs little more than in a dense product, as every product still fills vectors.
#include <cstring>

#include "products/geometry.h"
#include "products/sparse.h"

namespace pw {
namespace {

// Where the input pixels of a tap lie: in the image itself, or in copies of its channels with zeros around them, one
// per phase of the stride, so that the pixels that neighbouring outputs see at a tap are neighbours.
struct Planes {
  bool copied;
  int64_t width, height, size;             // of a plane; `size`: floats from one to the next
  std::vector<std::pair<int64_t, int64_t>> phases;  // (y, x) within the stride

  Planes(const Geometry& g, int64_t lanes) {
    const bool flat = g.taps() == 1;
    const int64_t line = flat ? g.out_pixels() : g.out_width;
    copied = g.pads() || g.stride_y != 1 || g.stride_x != 1 || line < lanes;
    if (!copied) {
      width = g.width, height = g.height, size = g.in_pixels();
      phases = {{0, 0}};
      return;
    }
    width = g.out_width + (g.kernel_width - 1) * g.dilation_x / g.stride_x;
    height = g.out_height + (g.kernel_height - 1) * g.dilation_y / g.stride_y;
    // A vector that begins in the last row may end behind it. An odd number of cache lines: planes do not meet in the
    // same sets.
    size = divide_up(width * height + lanes, 16);
    size = (size | 1) * 16;
    for (int64_t ky = 0; ky < g.kernel_height; ++ky)
      for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
        const auto phase = phase_of(g, ky, kx);
        if (std::find(phases.begin(), phases.end(), phase) == phases.end()) phases.push_back(phase);
      }
  }
  static std::pair<int64_t, int64_t> phase_of(const Geometry& g, int64_t ky, int64_t kx) {
    return {ky * g.dilation_y % g.stride_y, kx * g.dilation_x % g.stride_x};
  }
  int64_t per_channel() const { return size * static_cast<int64_t>(phases.size()); }
  // Floats from an output's pixel in the first plane to what it sees of channel `c` at a tap.
  int64_t offset(const Geometry& g, int64_t c, int64_t ky, int64_t kx) const {
    if (!copied) return c * size + ky * g.dilation_y * width + kx * g.dilation_x;
    const auto phase = std::find(phases.begin(), phases.end(), phase_of(g, ky, kx)) - phases.begin();
    return c * per_channel() + phase * size + ky * g.dilation_y / g.stride_y * width + kx * g.dilation_x / g.stride_x;
  }
};

class SparseKernel : public Kernel {
 public:
  SparseKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads), tiled_(variant.ends_with(kTiled)),
        kernel_(spmm_kernel(variant.substr(0, variant.find('/')))), planes_(g_, kernel_.lanes),
        tiles_(g_.taps() == 1 ? PixelTiles(1, g_.out_pixels(), 0, 0, kernel_)
                              : PixelTiles(g_.out_height, g_.out_width, planes_.width, g_.out_width, kernel_)),
        bias_(pack_bias(bias_of(p, constants), g_.outputs, 1)) {
    const int64_t depth = g_.group_inputs() * g_.taps();
    product_ = {&kernel_, &weights_, &tiles_, bias_.as<float>(), *epilogue_activation(p), g_.outputs, g_.out_pixels(), 1,
                g_.inputs, g_.in_pixels()};
    weights_ = SparseRows(constants[1], g_.outputs, depth, signature(), [this](int64_t output, int64_t k) {
      const int64_t tap = k % g_.taps(), group = output / g_.group_outputs();
      if (tiled_) return static_cast<int32_t>((group * g_.group_inputs() + k) * product_.tile_row());
      return static_cast<int32_t>(planes_.offset(g_, group * g_.group_inputs() + k / g_.taps(), tap / g_.kernel_width,
                                                 tap % g_.kernel_width));
    });
    // Several pieces per thread.
    product_.parts = std::min(g_.outputs, divide_up(p.threads == 1 ? 1 : 8 * p.threads, g_.images * tiles_.tiles()));
  }

  static constexpr const char* kTiled = "/tiles";

  size_t workspace_bytes() const override {
    if (tiled_) return static_cast<size_t>(threads_ * g_.inputs * product_.tile_row()) * 4;
    return planes_.copied ? static_cast<size_t>(g_.inputs * planes_.per_channel()) * 4 : 0;
  }
  size_t packed_bytes() const override { return weights_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    const int64_t input = g_.inputs * g_.in_pixels(), output = g_.outputs * g_.out_pixels(), n = product_.pieces();
    if (!planes_.copied) {
      float* own = tiled_ ? static_cast<float*>(workspace) + team.index * g_.inputs * product_.tile_row() : nullptr;
      team.each(g_.images * n, 1, [&](int64_t i, int64_t) {
        const int64_t image = i / n;
        product_.walk(i % n, x + image * input, y + image * output, residual ? residual + image * output : nullptr, own);
      });
      return;
    }
    auto* planes = static_cast<float*>(workspace);
    for (int64_t image = 0; image < g_.images; ++image) {
      if (image > 0) team.barrier();
      team.each(g_.inputs, 1, [&](int64_t c, int64_t) {
        for (size_t i = 0; i < planes_.phases.size(); ++i)
          copy(x + image * input + c * g_.in_pixels(), planes_.phases[i],
               planes + c * planes_.per_channel() + static_cast<int64_t>(i) * planes_.size);
      });
      team.barrier();
      team.each(n, 1, [&](int64_t i, int64_t) {
        product_.walk(i, planes, y + image * output, residual ? residual + image * output : nullptr);
      });
    }
  }

 private:
  // All that the offsets depend on, the weights' shape aside.
  std::string signature() const {
    std::string text = std::to_string(g_.groups);
    if (tiled_) return text + "/tiles/" + std::to_string(product_.tile_row());
    for (int64_t v : {planes_.per_channel(), planes_.size, planes_.width, g_.stride_y, g_.stride_x, g_.dilation_y,
                      g_.dilation_x})
      text += "/" + std::to_string(v);
    return text;
  }

  // One phase of one channel, zeros around it.
  void copy(const float* channel, std::pair<int64_t, int64_t> phase, float* to) const {
    // First column inside the image and the one behind the last.
    const int64_t shift = g_.pad_left - phase.second, s = g_.stride_x;
    const int64_t begin = std::clamp<int64_t>(shift > 0 ? divide_up(shift, s) : 0, 0, planes_.width);
    const int64_t room = g_.width + shift;
    const int64_t end = std::clamp<int64_t>(room > 0 ? divide_up(room, s) : 0, begin, planes_.width);
    for (int64_t row = 0; row < planes_.height; ++row, to += planes_.width) {
      const int64_t iy = row * g_.stride_y + phase.first - g_.pad_top;
      if (iy < 0 || iy >= g_.height) {
        std::memset(to, 0, static_cast<size_t>(planes_.width) * 4);
        continue;
      }
      const float* from = channel + iy * g_.width - shift;
      for (int64_t i = 0; i < begin; ++i) to[i] = 0.0f;
      if (s == 1) std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * 4);
      else for (int64_t i = begin; i < end; ++i) to[i] = from[i * s];
      for (int64_t i = end; i < planes_.width; ++i) to[i] = 0.0f;
    }
    std::memset(to, 0, static_cast<size_t>(planes_.size - planes_.width * planes_.height) * 4);
  }

  Geometry g_;
  bool add_;
  int64_t threads_;
  bool tiled_;
  const SpmmF32& kernel_;
  Planes planes_;
  PixelTiles tiles_;
  Buffer bias_;
  SparseRows weights_;
  SparseProduct product_{};
};

class Sparse : public Routine {
  static constexpr int64_t kMostTaps = 1024;  // which stride's phase each has is looked up one by one

 public:
  Sparse() : Routine({.id = "conv2/sparse:f32:nchw:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nchw, Layout::nchw, PW_KIND_SPMM_F32); !v) return v;
    if (Verdict v = accepts_zeros(p); !v) return v;
    if (spmm_variants(epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    const Geometry g(p);
    if (g.taps() > kMostTaps) return Verdict::no("a kernel of " + std::to_string(g.taps()) + " taps");
    const Planes planes(g, 16);
    if (g.inputs * planes.per_channel() > INT32_MAX) return Verdict::no("an image has more than 2^31 elements");
    return Verdict::ok();
  }
  // 1x1 also with tiles copied to where their channels lie side by side.
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names = spmm_variants(epilogue_act(p));
    const Geometry g(p);
    if (g.taps() == 1 && !Planes(g, 16).copied)
      for (const auto& kernel : spmm_variants(epilogue_act(p))) names.push_back(kernel + SparseKernel::kTiled);
    return names;
  }
  Ports ports(const Problem& p) const override { return convolution_ports(p, Layout::nchw, Layout::nchw); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<SparseKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Sparse>(); }
}  // namespace PW_COLLECT
}  // namespace pw
