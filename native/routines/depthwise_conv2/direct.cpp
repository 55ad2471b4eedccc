// depthwise_conv2/direct: vectors of channels, a few neighbouring outputs at a time.
#include "products/depthwise.h"

namespace pw {
namespace {

template <class T>
class DepthwiseKernel : public PieceKernel {
 public:
  DepthwiseKernel(const Problem& p, Layout layout, const std::string& variant, const Constants& constants)
      : g_(p), blocked_(layout == Layout::nchw16c), add_(p.epilogue.add),
        pieces_(g_.images * g_.out_height * (blocked_ ? g_.inputs / 16 : 1), blocked_ ? 16 : g_.inputs, p.threads),
        rows_(g_, variant, blocked_ ? 16 : g_.inputs, constants[1].as<float>(), bias_of(p, constants),
              *epilogue_activation(p)), areas_{rows_.pointer_bytes(), p.threads} {}

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return rows_.packed_bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const T*>(in[0]);
    const auto* residual = add_ ? static_cast<const T*>(in[1]) : nullptr;
    auto* y = static_cast<T*>(out[0]);
    auto** pixels = areas_.own<const T*>(workspace, team);
    // Rows are counted through images and channel blocks.
    const int64_t slabs = blocked_ ? g_.inputs / 16 : 1, channels = blocked_ ? 16 : g_.inputs;
    pieces_.each(team, channels, [&](int64_t row, int64_t first, int64_t count) {
      const int64_t slab = row / g_.out_height, to = row * g_.out_width * channels + first;
      rows_.output_row(x + slab * g_.in_pixels() * channels + first, row % g_.out_height, slab % slabs * 16 + first, count,
                       y + to, residual ? residual + to : nullptr, pixels);
    });
  }

 private:
  Geometry g_;
  bool blocked_, add_;
  RowPieces pieces_;
  DepthwiseRowsOf<T> rows_;
  ThreadAreas areas_;
};

template <class T>
class Depthwise : public ConvolutionRoutine, public Estimating {
 public:
  explicit Depthwise(Layout layout)
      : ConvolutionRoutine(std::string("depthwise_conv2/direct:") + text(kStored<T>) + ":" + text(layout) + ":cpu", layout,
                           layout, kStored<T> == DType::f32 ? Accuracy::strict : Accuracy::reduced, kStored<T>) {
    card_.version = 4;
    applying_ = DepthwiseRowsOf<T>::kind();
  }
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (micro_kernels(p, g).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return micro_kernels(p, Geometry(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    return depthwise_estimate<DepthwiseOf<T>>(Geometry(p), DepthwiseRowsOf<T>::kind(), variant, in_ == Layout::nchw16c);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DepthwiseKernel<T>>(p, in_, variant, c);
  }

 private:
  static std::vector<std::string> micro_kernels(const Problem& p, const Geometry& g) {
    return depthwise_ukernels<DepthwiseOf<T>>(g, DepthwiseRowsOf<T>::kind(), epilogue_act(p));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::nhwc, Layout::nchw16c}) c.add<Depthwise<float>>(layout);
  for_each_half([&](auto half) { c.add<Depthwise<decltype(half)>>(Layout::nhwc); });
}
}  // namespace PW_COLLECT
}  // namespace pw
