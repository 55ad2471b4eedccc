// conv2/sparse_blocks: weights that are zero in whole blocks of 16 outputs, channels last. What is left of a block's
// column is multiplied as in a dense product: rows of x where they lie, at the offsets of the inputs that are left.
#include <cstring>

#include "products/blocks.h"
#include "products/geometry.h"

namespace pw {
namespace {

class SparseBlocksKernel : public Kernel {
 public:
  SparseBlocksKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), padded_(g_.pads()), width_(g_.width), height_(g_.height) {
    if (padded_) {
      width_ = std::max(g_.width + g_.pad_left, (g_.out_width - 1) * g_.stride_x + (g_.kernel_width - 1) * g_.dilation_x + 1);
      height_ = std::max(g_.height + g_.pad_top,
                         (g_.out_height - 1) * g_.stride_y + (g_.kernel_height - 1) * g_.dilation_y + 1);
    }
    BlocksProblem b{g_.outputs, g_.group_inputs() * g_.taps(), g_.groups, constants[1], bias_of(p, constants),
                    *epilogue_activation(p), p.threads, g_.images, width_ * height_ * g_.inputs, {}, {},
                    "conv2/" + std::to_string(width_) + "/" + std::to_string(g_.groups) + "/" +
                        std::to_string(g_.dilation_y) + "/" + std::to_string(g_.dilation_x)};
    for (int64_t y = 0; y < g_.out_height; ++y)
      for (int64_t x = 0; x < g_.out_width; ++x)
        b.rows.push_back((y * g_.stride_y * width_ + x * g_.stride_x) * g_.inputs);
    b.offset = [this](int64_t group, int64_t k) {
      const int64_t channel = group * g_.group_inputs() + k / g_.taps(), tap = k % g_.taps();
      const int64_t y = tap / g_.kernel_width * g_.dilation_y, x = tap % g_.kernel_width * g_.dilation_x;
      return static_cast<int32_t>((y * width_ + x) * g_.inputs + channel);
    };
    product_ = std::make_unique<BlocksProduct>(b, variant);
  }

  size_t workspace_bytes() const override {
    return padded_ ? static_cast<size_t>(g_.images * height_ * width_ * g_.inputs) * 4 : 0;
  }
  size_t packed_bytes() const override { return product_->bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    if (padded_) {
      auto* copy = static_cast<float*>(workspace);
      team.each(g_.images * height_, 4, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) pad(x, row, copy + row * width_ * g_.inputs);
      });
      team.barrier();
      x = copy;
    }
    product_->run(x, static_cast<float*>(out[0]), add_ ? static_cast<const float*>(in[1]) : nullptr, team);
  }

 private:
  // Row `row` of the padded images.
  void pad(const float* x, int64_t row, float* to) const {
    const int64_t y = row % height_ - g_.pad_top, n = g_.inputs;
    const auto zero = [](float* at, int64_t count) { std::memset(at, 0, static_cast<size_t>(count) * 4); };
    if (y < 0 || y >= g_.height) {
      zero(to, width_ * n);
      return;
    }
    const float* from = x + (row / height_ * g_.height + y) * g_.width * n;
    zero(to, g_.pad_left * n);
    std::memcpy(to + g_.pad_left * n, from, static_cast<size_t>(g_.width * n) * 4);
    zero(to + (g_.pad_left + g_.width) * n, (width_ - g_.pad_left - g_.width) * n);
  }

  Geometry g_;
  bool add_, padded_;
  int64_t width_, height_;  // of the image that is read
  std::unique_ptr<BlocksProduct> product_;
};

class SparseBlocks : public Routine {
 public:
  SparseBlocks() : Routine({.id = "conv2/sparse_blocks:f32:nhwc:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc, PW_KIND_GEMM_INDEXED_F32); !v) return v;
    if (Verdict v = accepts_zero_blocks(p); !v) return v;
    const Geometry g(p);
    if (g.groups > 1 && g.group_outputs() % kBlock != 0) return Verdict::no("groups do not align with blocks of 16 outputs");
    if (block_variants(epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    if ((g.kernel_height + 1) * g.dilation_y * (g.width + 2 * g.pad_left + g.kernel_width * g.dilation_x) * g.inputs >
        INT32_MAX)
      return Verdict::no("a window spans more than 2^31 elements");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return block_variants(epilogue_act(p)); }
  Ports ports(const Problem& p) const override { return convolution_ports(p, Layout::nhwc, Layout::nhwc); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<SparseBlocksKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<SparseBlocks>(); }
}  // namespace PW_COLLECT
}  // namespace pw
