// inverted_residual/rows: expand, depthwise, project, a few rows of the image at a time. The expanded rows that the
// depthwise kernel covers stay in a buffer of the size of a second-level cache and are never written out.
#include <cstring>

#include "routines/inverted_residual/region.h"
#include "spi/estimate.h"

namespace pw {
namespace {

using namespace inverted_residual;

class RowsKernel : public PieceKernel {
 public:
  RowsKernel(const Problem& p, const GemmF32& gemm, int64_t step, const Constants& c)
      : g_(depthwise_geometry(p)), step_(step), add_(p.epilogue.add), threads_(p.threads),
        inputs_(p.in[kX].shape[1]), outputs_(p.out[0].shape[1]),
        depthwise_(g_, depthwise_kernel(p), g_.inputs, c[kDepthwise].as<float>(), stage_bias(p, c, kDepthwiseBias),
                   *depthwise_activation(p)) {
    if (p.in[kExpand].present)
      expand_.emplace(gemm, c[kExpand], stage_bias(p, c, kExpandBias), inputs_, g_.inputs, *stage_activation(p, "expand"));
    if (p.in[kProject].present)
      project_.emplace(gemm, c[kProject], stage_bias(p, c, kProjectBias), g_.inputs, outputs_, *epilogue_activation(p));
    // More bands than threads even out what disturbs one of them; but the first rows of each are expanded twice.
    const int64_t twice = expand_ ? std::max<int64_t>(0, reach() - g_.stride_y) : 0;
    while (bands_ * g_.images < 4 * threads_ && bands_ * 2 <= g_.out_height &&
           (bands_ * g_.images < threads_ || bands_ * 2 * twice * 16 <= g_.height))
      bands_ *= 2;
    step_ = std::min(step_, divide_up(g_.out_height, bands_));
    expanded_rows_ = std::min(g_.height, (step_ - 1) * g_.stride_y + reach());
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()); }
  size_t packed_bytes() const override {
    return depthwise_.packed_bytes() + (expand_ ? expand_->weights->bytes() : 0) +
           (project_ ? project_->weights->bytes() : 0);
  }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return expand_ ? expand_->weights->memory() : Memory{}; }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    const Scratch scratch = parts(static_cast<char*>(workspace) + team.index * area());
    const int64_t in_image = g_.in_pixels() * inputs_, out_image = g_.out_pixels() * outputs_;
    team.each(g_.images * bands_, 1, [&](int64_t i, int64_t) {
      const int64_t image = i / bands_;
      const auto [first, rows] = EvenParts(g_.out_height, bands_)[i % bands_];
      band(x + image * in_image, static_cast<float*>(out[0]) + image * out_image,
           residual ? residual + image * out_image : nullptr, first, first + rows, scratch);
    });
  }

 private:
  struct Scratch {
    float *expanded, *filtered;
    const float** pointers;
  };

  // Input rows that one output row covers.
  int64_t reach() const { return (g_.kernel_height - 1) * g_.dilation_y + 1; }
  int64_t expanded_bytes() const { return expand_ ? round_up(expanded_rows_ * g_.width * g_.inputs * 4, 64) : 0; }
  int64_t filtered_bytes() const { return project_ ? round_up(step_ * g_.out_width * g_.inputs * 4, 64) : 0; }
  // Pages of two threads do not touch, nor do the buffers of one thread begin at the same place of a page.
  int64_t area() const {
    return round_up(expanded_bytes() + 192 + filtered_bytes() + 192 + std::max<int64_t>(Pointwise::kPointers, depthwise_.pointer_bytes()),
                    4096);
  }
  Scratch parts(char* area) const {
    char* filtered = area + expanded_bytes() + (expand_ ? 192 : 0);
    return {reinterpret_cast<float*>(area), reinterpret_cast<float*>(filtered),
            reinterpret_cast<const float**>(filtered + filtered_bytes() + 192)};
  }

  // Output rows [first, last) of one image.
  void band(const float* x, float* y, const float* residual, int64_t first, int64_t last, const Scratch& s) const noexcept {
    const int64_t row = g_.width * g_.inputs, out_row = g_.out_width * outputs_;
    int64_t from = 0, to = 0;  // the expanded rows that the buffer holds
    for (int64_t oy = first; oy < last; oy += step_) {
      const int64_t count = std::min(step_, last - oy);
      const float* image = x;
      if (expand_) {
        const int64_t low = std::max<int64_t>(0, oy * g_.stride_y - g_.pad_top);
        const int64_t high = std::min(g_.height, (oy + count - 1) * g_.stride_y - g_.pad_top + reach());
        if (low < high) {
          const int64_t kept = std::max<int64_t>(0, to - low);
          if (kept > 0 && low > from)
            std::memmove(s.expanded, s.expanded + (low - from) * row, static_cast<size_t>(kept * row) * 4);
          from = low;
          to = high;
          if (high > low + kept)
            expand_->run(x + (low + kept) * g_.width * inputs_, (high - low - kept) * g_.width, s.expanded + kept * row,
                         nullptr, s.pointers);
        }
        // Where row 0 would lie: an address that is only counted from.
        image = reinterpret_cast<const float*>(reinterpret_cast<intptr_t>(s.expanded) - from * row * 4);
      }
      for (int64_t i = 0; i < count; ++i) {
        float* target = project_ ? s.filtered + i * g_.out_width * g_.inputs : y + (oy + i) * out_row;
        const float* added = project_ || !residual ? nullptr : residual + (oy + i) * out_row;
        depthwise_.output_row(image, oy + i, 0, g_.inputs, target, added, s.pointers);
      }
      if (project_)
        project_->run(s.filtered, count * g_.out_width, y + oy * out_row, residual ? residual + oy * out_row : nullptr,
                      s.pointers);
    }
  }

  Geometry g_;
  int64_t step_;
  bool add_;
  int64_t threads_, inputs_, outputs_, bands_ = 1, expanded_rows_ = 0;
  std::optional<Pointwise> expand_, project_;
  DepthwiseRows depthwise_;
};

class Rows : public Routine, public Estimating {
 public:
  Rows() : Routine({.id = "inverted_residual/rows:f32:nhwc:cpu", .version = 2, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override { return accepts_stages(p); }
  // VARIANT = gemm micro-kernel/rSTEP: output rows per step.
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (int64_t step : {1, 2, 4})
      if (step == 1 || step / 2 < p.out[0].shape[2])
        for (const auto& kernel : product_variants(p)) names.push_back(kernel + "/r" + std::to_string(step));
    return names;
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.4); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const size_t slash = variant.find('/');
    if (slash == std::string::npos || variant.compare(slash, 2, "/r") != 0)
      throw Error("variant '" + variant + "': expected MICRO-KERNEL/rROWS");
    return std::make_unique<RowsKernel>(p, gemm_kernel(variant.substr(0, slash)), std::stoll(variant.substr(slash + 2)), c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Rows>(); }
}  // namespace PW_COLLECT
}  // namespace pw
