// inverted_residual/channels: expand and depthwise, a block of the expanded channels at a time, over the whole image; then
// project. Nothing is expanded twice, every weight is read by one thread, and the threads share small images evenly.
#include <numeric>

#include "routines/inverted_residual/region.h"
#include "spi/estimate.h"

namespace pw {
namespace {

using namespace inverted_residual;

class ChannelsKernel : public Kernel {
 public:
  ChannelsKernel(const Problem& p, const GemmF32& gemm, int64_t width, const Constants& c)
      : g_(depthwise_geometry(p)), width_(width), add_(p.epilogue.add), blocks_(divide_up(g_.inputs, width)),
        expand_(gemm, c[kExpand], stage_bias(p, c, kExpandBias), p.in[kX].shape[1], g_.inputs,
                *stage_activation(p, "expand")),
        depthwise_(g_, depthwise_kernel(p), width, c[kDepthwise].as<float>(), stage_bias(p, c, kDepthwiseBias),
                   *depthwise_activation(p), g_.inputs) {
    if (p.in[kProject].present) {
      project_.emplace(gemm, c[kProject], stage_bias(p, c, kProjectBias), g_.inputs, p.out[0].shape[1],
                       *epilogue_activation(p));
      Product& product = project_->product;
      product.rows = g_.images * g_.out_pixels();
      product.chunk = divide_up(g_.inputs, divide_up(g_.inputs, kMostDepth));
      product.blocking = block(product.row_tiles(), product.panels(), product.chunk * gemm.columns * 4,
                               gemm.rows * g_.inputs * 4, p.threads);
    }
    areas_ = {round_up(expanded_bytes() + kGap + std::max<int64_t>(Pointwise::kPointers, depthwise_.pointer_bytes()), 4096),
              p.threads};
  }

  int64_t phases() const override { return project_ ? 2 : 1; }
  size_t workspace_bytes() const override { return static_cast<size_t>(filtered_bytes()) + areas_.total(); }
  size_t packed_bytes() const override {
    return expand_.weights->bytes() + depthwise_.packed_bytes() + (project_ ? project_->weights->bytes() : 0);
  }
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const override {
    if (phase > 0 && project_) return project_->product.from_panel(project_->product.blocking.first_panel(index, count));
    // The channels with which the thread begins, in every panel of which they are columns.
    const auto first = Team::own_first(g_.images * blocks_, index, count);
    if (!first) return {};
    return expand_.product.from_panel(*first % blocks_ * width_ / expand_.product.kernel->columns);
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto *y = static_cast<float*>(out[0]), *filtered = project_ ? static_cast<float*>(workspace) : y;
    auto* expanded = areas_.own<float>(static_cast<char*>(workspace) + filtered_bytes(), team);
    auto** pointers = reinterpret_cast<const float**>(reinterpret_cast<char*>(expanded) + expanded_bytes() + kGap);
    if (team.phase == 0) {
      team.each(g_.images * blocks_, 1, [&](int64_t i, int64_t) {
        filter(static_cast<const float*>(in[0]), i / blocks_, i % blocks_ * width_, filtered,
               project_ ? nullptr : residual, expanded, pointers);
      });
    } else {
      const Product& p = project_->product;
      walk(p, y, residual, pointers, team, rows_of(filtered, p));
    }
  }

 private:
  static constexpr int64_t kMostDepth = 512;  // rows of B per pass of the projection
  static constexpr int64_t kGap = 192;        // bytes, so that no two buffers begin at the same place of a page

  int64_t expanded_bytes() const { return round_up(g_.in_pixels() * width_ * 4, 64); }
  int64_t filtered_bytes() const {
    return project_ ? round_up(g_.images * g_.out_pixels() * g_.inputs * 4, 4096) : 0;
  }

  // The channels of one block from `first` on, of one image: expanded, filtered, and left where they belong in `y`.
  void filter(const float* x, int64_t image, int64_t first, float* y, const float* residual, float* expanded,
              const float** pointers) const noexcept {
    Product part = expand_.product;
    part.rows = g_.in_pixels();
    part.columns = std::min(width_, g_.inputs - first);
    part.b += first * part.depth;
    part.bias += first;
    part.c_row = width_;
    part.blocking = {part.row_tiles(), part.panels(), 1, 1};
    const float* source = x + image * part.rows * part.depth;
    walk_block(part, 0, expanded, nullptr, pointers, rows_of(source, part));
    for (int64_t oy = 0; oy < g_.out_height; ++oy) {
      const int64_t to = (image * g_.out_height + oy) * g_.out_width * g_.inputs + first;
      depthwise_.output_row(expanded, oy, first, part.columns, y + to, residual ? residual + to : nullptr, pointers);
    }
  }

  Geometry g_;
  int64_t width_;
  bool add_;
  int64_t blocks_;
  Pointwise expand_;
  DepthwiseRows depthwise_;
  std::optional<Pointwise> project_;
  ThreadAreas areas_;
};

// Channels of a block: whole panels, and from a multiple of 16 to the next, as the depthwise weights are cut.
int64_t block_width(const GemmF32& gemm, int64_t least) { return round_up(least, std::lcm<int64_t>(16, gemm.columns)); }

// Blocks of at least so many channels are tried: more of them keep less in the caches.
constexpr int64_t kWidths[] = {48, 96};

class Channels : public Routine, public Estimating {
 public:
  Channels() : Routine({.id = "inverted_residual/channels:f32:nhwc:cpu", .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_stages(p); !v) return v;
    if (!p.in[kExpand].present) return Verdict::no("there is no expansion");
    // Beyond that nothing was gained, probably since what one thread has filtered is projected by another.
    const int64_t filtered = count(p.out[0].shape) / p.out[0].shape[0] / p.out[0].shape[1] * p.in[kDepthwise].shape[0] * 4;
    if (filtered > static_cast<int64_t>(cpu().l2) / 2) return Verdict::no("a filtered image is larger than half of L2");
    if (variants(p).empty()) return Verdict::no("a block of the expanded image is larger than half of L2");
    return Verdict::ok();
  }
  // VARIANT = gemm micro-kernel/cLEAST: channels of a block before they are rounded up.
  std::vector<std::string> variants(const Problem& p) const override {
    const int64_t pixels = p.in[kX].shape[2] * p.in[kX].shape[3], channels = p.in[kDepthwise].shape[0];
    std::vector<std::string> names;
    for (int64_t least : kWidths)
      for (const auto& kernel : product_variants(p))
        if (const int64_t width = block_width(gemm_kernel(kernel), least);
            pixels * width * 4 <= static_cast<int64_t>(cpu().l2) / 2 && (least == kWidths[0] || channels > width))
          names.push_back(kernel + "/c" + std::to_string(least));
    return names;
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.4); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const size_t slash = variant.find('/');
    if (slash == std::string::npos || variant.compare(slash, 2, "/c") != 0)
      throw Error("variant '" + variant + "': expected MICRO-KERNEL/cCHANNELS");
    const GemmF32& gemm = gemm_kernel(variant.substr(0, slash));
    return std::make_unique<ChannelsKernel>(p, gemm, block_width(gemm, std::stoll(variant.substr(slash + 2))), c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Channels>(); }
}  // namespace PW_COLLECT
}  // namespace pw
