// squeeze_excite/rows: a depthwise convolution where there is one, the mean of each channel, two small products, and the
// scaling, in one step of four phases. Each row is summed when it was just made; nothing is copied between the phases.
#include "products/depthwise.h"
#include "products/stages.h"
#include "spi/estimate.h"
#include "ukernels/kinds/reduce_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

enum Input { kX, kDepthwise, kDepthwiseBias, kSqueeze, kSqueezeBias, kExcite, kExciteBias, kArity };

// The depthwise stage as a problem of its own sees it. Without one: a kernel of one tap, so that shapes can be asked for.
Geometry depthwise_geometry(const Problem& p) {
  Problem d = p;
  d.kind = "depthwise_conv2";
  d.in = {p.in[kX], p.in[kDepthwise]};
  if (!p.in[kDepthwise].present) d.in[1].shape = {p.in[kX].shape[1], 1, 1, 1};
  return Geometry(d);
}

class RowsKernel : public Kernel {
 public:
  RowsKernel(const Problem& p, const GemmF32& gemm, const Constants& c)
      : g_(depthwise_geometry(p)), add_(p.epilogue.add), threads_(p.threads), hidden_(p.in[kSqueeze].shape[0]),
        rows_(g_.images * g_.out_height), pieces_(rows_, g_.inputs, p.threads),
        reduce_(best_ukernel<ReduceF32>(PW_KIND_REDUCE_F32)), binary_(best_ukernel<BinaryF32>(PW_KIND_BINARY_F32)),
        post_(p),
        squeeze_(gemm, c[kSqueeze], bias(p, c, kSqueezeBias), g_.inputs, hidden_, *stage_activation(p, "squeeze")),
        excite_(gemm, c[kExcite], bias(p, c, kExciteBias), hidden_, g_.inputs, *stage_activation(p, "excite")),
        tile_(gemm.rows) {
    if (p.in[kDepthwise].present)
      depthwise_.emplace(g_, depthwise_ukernel(g_, stage_act(p, "depthwise")), g_.inputs, c[kDepthwise].as<float>(),
                         bias(p, c, kDepthwiseBias), *stage_activation(p, "depthwise"));
    area_ = round_up(pointer_bytes() + mean_floats() * 4 + 192, 4096);
  }

  int64_t phases() const override { return 4; }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(shared_bytes() + threads_ * area_);
  }
  size_t packed_bytes() const override {
    return squeeze_.weights->bytes() + excite_.weights->bytes() + (depthwise_ ? depthwise_->packed_bytes() : 0);
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto* sums = static_cast<float*>(workspace);
    float *hidden = sums + rows_ * g_.inputs, *gate = hidden + g_.images * hidden_;
    char* own = static_cast<char*>(workspace) + shared_bytes() + team.index * area_;
    auto** pointers = reinterpret_cast<const float**>(own);
    auto* mean = reinterpret_cast<float*>(own + pointer_bytes());
    if (team.phase == 0) sum_rows(x, y, sums, pointers, team);
    else if (team.phase == 1) squeeze(sums, mean, hidden, pointers, team);
    else if (team.phase == 2) excite(hidden, gate, pointers, team);
    else scale(depthwise_ ? y : x, gate, y, residual, team);
  }

 private:
  static const float* bias(const Problem& p, const Constants& c, int i) {
    return p.in[i].present ? c[i].as<float>() : nullptr;
  }
  // Sums of each row, what the first product makes, and the factors; in whole pages, which threads do not share.
  int64_t shared_bytes() const {
    return round_up((rows_ * g_.inputs + g_.images * (hidden_ + g_.inputs)) * 4, 4096);
  }
  int64_t pointer_bytes() const {
    return std::max<int64_t>(Pointwise::kPointers, depthwise_ ? depthwise_->pointer_bytes() : 0);
  }
  // The means of a tile of images.
  int64_t mean_floats() const { return std::min(tile_, g_.images) * g_.inputs; }

  // A row at a time, so that the sums do not depend on who makes them.
  void sum_rows(const float* x, float* y, float* sums, const float** pixels, Team& team) const noexcept {
    const int64_t channels = g_.inputs;
    pieces_.each(team, channels, [&](int64_t row, int64_t first, int64_t count) {
      const int64_t image = row / g_.out_height, at = row * g_.out_width * channels + first;
      if (depthwise_)
        depthwise_->output_row(x + image * g_.in_pixels() * channels + first, row % g_.out_height, first, count, y + at,
                               nullptr, pixels);
      const ReduceArgs<float> args{Reduce::sum, (depthwise_ ? y : x) + at, sums + row * channels + first,
                                   g_.out_width, count, channels, 1.0f};
      reduce_.columns(&args);
    });
  }

  // Tiles of images by parts of the outputs; who takes one makes the means that it needs.
  void squeeze(const float* sums, float* mean, float* hidden, const float** pointers, Team& team) const noexcept {
    const int64_t channels = g_.inputs, parts = parts_of(squeeze_, 1);
    team.each(divide_up(g_.images, tile_) * parts, 1, [&](int64_t i, int64_t) {
      const int64_t image = i / parts * tile_, images = std::min(tile_, g_.images - image);
      for (int64_t j = 0; j < images; ++j) {
        const ReduceArgs<float> args{Reduce::sum, sums + (image + j) * g_.out_height * channels, mean + j * channels,
                                     g_.out_height, channels, channels, 1.0f / static_cast<float>(g_.out_pixels())};
        reduce_.columns(&args);
      }
      squeeze_.run(mean, images, hidden + image * hidden_, nullptr, pointers, i % parts, parts);
    });
  }

  void excite(const float* hidden, float* gate, const float** pointers, Team& team) const noexcept {
    const int64_t parts = parts_of(excite_, 4);
    team.each(divide_up(g_.images, tile_) * parts, 1, [&](int64_t i, int64_t) {
      const int64_t image = i / parts * tile_, images = std::min(tile_, g_.images - image);
      excite_.run(hidden + image * hidden_, images, gate + image * g_.inputs, nullptr, pointers, i % parts, parts);
    });
  }

  // Parts of a product's columns: `each` for every thread where there are as many panels.
  int64_t parts_of(const Pointwise& product, int64_t each) const {
    const int64_t panels = product.product.panels();
    return divide_up(panels, divide_up(panels, std::min(panels, each * threads_)));
  }

  void scale(const float* x, const float* gate, float* y, const float* residual, Team& team) const noexcept {
    const int64_t channels = g_.inputs, chunk = std::max<int64_t>(1, Post::kChunk / channels);
    team.each(rows_, pieces_.grain, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row)
        for (int64_t ox = 0; ox < g_.out_width; ox += chunk) {
          const int64_t pixels = std::min(chunk, g_.out_width - ox), at = (row * g_.out_width + ox) * channels;
          const BinaryArgs<float> args{Binary::mul, x + at, gate + row / g_.out_height * channels, y + at, pixels,
                                       channels, channels, 0, false, false, post_.low(), post_.high()};
          binary_.run(&args);
          if (!post_.nothing()) post_.apply(y + at, residual ? residual + at : nullptr, pixels * channels);
        }
    });
  }

  Geometry g_;
  bool add_;
  int64_t threads_, hidden_, rows_;
  RowPieces pieces_;
  const ReduceF32& reduce_;
  const BinaryF32& binary_;
  Post post_;
  Pointwise squeeze_, excite_;
  std::optional<DepthwiseRows> depthwise_;
  int64_t tile_, area_ = 0;  // images of a tile; bytes of a thread's own memory
};

class Rows : public Routine, public Estimating {
 public:
  Rows() : Routine({.id = "squeeze_excite/rows:f32:nhwc:cpu", .version = 2, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != kArity || p.in[kX].dtype != DType::f32 || p.in[kX].shape.size() != 4)
      return Verdict::no("x is not f32 of rank 4");
    if (p.in[kX].constant || (p.epilogue.add && p.in.back().constant)) return Verdict::no("x or the residual is a constant");
    for (int i = kDepthwise; i < kArity; ++i)
      if (p.in[i].present && (!p.in[i].constant || p.in[i].dtype != DType::f32))
        return Verdict::no("the weights and biases are not f32 constants");
    if (p.in[kX].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
    for (const char* stage : {"depthwise", "squeeze", "excite"})
      if (!stage_activation(p, stage)) return Verdict::no("an activation is not in the micro-kernels");
    if (Verdict v = Post::accepts(p); !v) return v;
    if (p.in[kDepthwise].present && depthwise_ukernel(depthwise_geometry(p), stage_act(p, "depthwise")).empty())
      return Verdict::no("no depthwise micro-kernel in this tier");
    return Verdict::ok();
  }
  // VARIANT = micro-kernel of the two products.
  std::vector<std::string> variants(const Problem& p) const override {
    return stage_variants({stage_act(p, "squeeze"), stage_act(p, "excite")});
  }
  // The output may overwrite x where each element depends on x's element alone.
  Ports ports(const Problem& p) const override {
    Ports ports = uniform_ports(p, Layout::nhwc);
    if (!p.in[kDepthwise].present) ports.reuse.push_back({0, 0});
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.05); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<RowsKernel>(p, gemm_kernel(variant), c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Rows>(); }
}  // namespace PW_COLLECT
}  // namespace pw
