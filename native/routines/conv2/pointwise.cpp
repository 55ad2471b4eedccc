// conv2/pointwise: a 1x1 convolution of stride 1 is a matrix product over the pixels where they lie.
#include "routines/conv2/geometry.h"

namespace pw {
namespace {

class PointwiseKernel : public Kernel {
 public:
  PointwiseKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads) {
    // VARIANT = micro-kernel[/kCHUNK]
    const size_t slash = variant.find('/');
    const GemmF32& kernel = gemm_kernel(variant.substr(0, slash));
    const int64_t chunk = slash == std::string::npos ? g_.inputs : std::stoll(variant.substr(slash + 2));
    weights_ = pack_convolution(constants[1], 0, g_.outputs, g_.inputs, 1, kernel.columns);
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, kernel.columns);
    product_.kernel = &kernel;
    product_.b = weights_->as<float>();
    product_.bias = bias_.as<float>();
    product_.act = *epilogue_activation(p);
    product_.rows = g_.images * g_.out_pixels();
    product_.columns = g_.outputs;
    product_.taps = 1;
    product_.depth = g_.inputs;
    product_.chunk = std::min(chunk, g_.inputs);
    product_.c_row = g_.outputs;
    product_.c_group = 16;
    product_.blocking = block(product_.row_tiles(), product_.panels(), product_.chunk * kernel.columns * 4,
                              kernel.rows * g_.inputs * 4, p.threads);
  }
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * kArea); }
  size_t packed_bytes() const override { return weights_->bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto** pointers = reinterpret_cast<const float**>(static_cast<char*>(workspace) + team.index * kArea);
    walk(product_, static_cast<float*>(out[0]), add_ ? static_cast<const float*>(in[1]) : nullptr, pointers, team,
         [&](int64_t row, int64_t rows, const float** to) {
           for (int64_t i = 0; i < product_.kernel->rows; ++i) to[i] = x + (row + std::min(i, rows - 1)) * g_.inputs;
         });
  }

 private:
  static constexpr int64_t kArea = 256;  // bytes of row pointers per thread: up to 32 rows
  Geometry g_;
  bool add_;
  int64_t threads_;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  Product product_{};
};

class Pointwise : public Routine {
 public:
  Pointwise() {
    card_.id = "conv2/pointwise:f32:nhwc:cpu";
    card_.layer = "conv2";
    card_.takes_epilogue = true;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc); !v) return v;
    const Geometry g(p);
    if (g.taps() != 1) return Verdict::no("the kernel is not 1x1");
    if (g.groups != 1) return Verdict::no("groups are not 1");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.pads()) return Verdict::no("the input is padded");
    return Verdict::ok();
  }
  // Long sums also in passes, whose rows of B stay in L1.
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (const auto& kernel : gemm_variants(Layout::nhwc)) {
      names.push_back(kernel);
      for (int64_t chunk : {256, 512})
        if (Geometry(p).inputs > chunk) names.push_back(kernel + "/k" + std::to_string(chunk));
    }
    return names;
  }
  Ports ports(const Problem& p) const override { return convolution_ports(p, Layout::nhwc, Layout::nhwc); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<PointwiseKernel>(p, variant, c);
  }

 private:
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Pointwise>(); }
}  // namespace PW_COLLECT
}  // namespace pw
