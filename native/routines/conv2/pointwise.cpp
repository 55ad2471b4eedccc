// conv2/pointwise: a 1x1 convolution of stride 1 is a matrix product over the pixels where they lie,
// in f32 or, computed in f32 all the same, in 16 bits.
#include "products/estimates.h"
#include "products/rows.h"

namespace pw {
namespace {

template <class T>
class Pointwise : public ConvolutionRoutine, public Estimating {
 public:
  Pointwise()
      : ConvolutionRoutine(std::string("conv2/pointwise:") + text(kStored<T>) + ":nhwc:cpu", Layout::nhwc, Layout::nhwc,
                           kStored<T> == DType::f32 ? Accuracy::strict : Accuracy::reduced, kStored<T>) {
    card_.version = 4;
  }
  Verdict suits(const Problem&, const Geometry& g) const override {
    if (g.taps() != 1) return Verdict::no("the kernel is not 1x1");
    if (g.groups != 1) return Verdict::no("groups are not 1");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.pads()) return Verdict::no("the input is padded");
    return Verdict::ok();
  }
  // Long sums also in passes, whose rows of B stay in L1.
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (const auto& kernel : gemm_variants(Layout::nhwc, epilogue_act(p))) {
      names.push_back(kernel);
      for (int64_t chunk : {256, 512})
        if (Geometry(p).inputs > chunk) names.push_back(kernel + "/k" + std::to_string(chunk));
    }
    return names;
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    return convolution_estimate(Geometry(p), variant, 1);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    // VARIANT = micro-kernel[/kCHUNK]
    const size_t slash = variant.find('/');
    const Geometry g(p);
    const int64_t chunk = slash == std::string::npos ? g.inputs : std::stoll(variant.substr(slash + 2));
    using Rows = std::conditional_t<kStored<T> == DType::f32, RowsKernel, StoredRowsKernel<T>>;
    return std::make_unique<Rows>(RowsProblem{g.images * g.out_pixels(), g.inputs, g.outputs, c[1], bias_of(p, c),
                                              *epilogue_activation(p), p.epilogue.add, p.threads, chunk,
                                              RowAxes::of(p.in[0].shape, 1)},
                                  gemm_kernel(variant.substr(0, slash)));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Pointwise<float>>();
  for_each_half([&](auto half) { c.add<Pointwise<decltype(half)>>(); });
}
}  // namespace PW_COLLECT
}  // namespace pw
