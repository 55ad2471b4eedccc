// conv2/im2col: patches of the input are gathered into rows of a matrix, a block of pixels at a time, then multiplied.
// It wins where a tap holds few channels, such as the first layer of a network.
#include <cstring>

#include "products/estimates.h"

namespace pw {
namespace {

// Rows are patches in the order (ky, kx, channel) from nhwc, and (channel, ky, kx) from nchw.
class Im2colKernel : public PieceKernel {
 public:
  Im2colKernel(const Problem& p, Layout from, const std::string& variant, const Constants& constants)
      : g_(p), from_(from), add_(p.epilogue.add), kernel_(&gemm_kernel(variant)) {
    depth_ = g_.group_inputs() * g_.taps();
    const auto* w = constants[1].as<float>();
    for (int64_t group = 0; group < g_.groups; ++group) {
      const int64_t first = group * g_.group_outputs(), depth = depth_;
      if (from == Layout::nhwc) {
        weights_.push_back(pack_convolution(constants[1], first, g_.group_outputs(), g_.group_inputs(), g_.taps(),
                                            kernel_->columns));
      } else {
        weights_.push_back(pack_panels(constants[1].id, "conv2/rows" + std::to_string(first), depth, g_.group_outputs(),
                                       kernel_->columns, [=](int64_t row, int64_t column) {
                                         return w[(first + column) * depth + row];
                                       }));
      }
      const float* bias = bias_of(p, constants);
      bias_.push_back(pack_bias(bias ? bias + first : nullptr, g_.group_outputs(), kernel_->columns));
    }
    act_ = *epilogue_activation(p);
    // Pixels per block: the gathered rows take a quarter of L2, and every thread gets several blocks.
    const int64_t pixels = g_.images * g_.out_pixels(), rows = kernel_->rows;
    const int64_t fit = static_cast<int64_t>(cpu().l2) / 4 / (depth_ * 4) / rows * rows;
    const int64_t even = divide_up(pixels, 4 * p.threads);
    block_ = std::max(rows, std::min(round_up(even, rows), fit));
    areas_ = {round_up(block_ * depth_ * 4, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return bytes_of(weights_); }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return weights_[0]->memory(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    float* rows = areas_.own<float>(workspace, team);
    const int64_t pixels = g_.images * g_.out_pixels();
    team.each(pixels, block_, [&](int64_t first, int64_t last) {
      for (int64_t group = 0; group < g_.groups; ++group) {
        for (int64_t p = first; p < last; ++p) {
          float* row = rows + (p - first) * depth_;
          if (from_ == Layout::nhwc) gather_nhwc(x, p, group, row);
          else gather_nchw(x, p, group, row);
        }
        multiply(rows, first, last, group, y, residual);
      }
    });
  }

 private:
  void gather_nhwc(const float* x, int64_t pixel, int64_t group, float* row) const {
    const int64_t image = pixel / g_.out_pixels(), at = pixel % g_.out_pixels();
    const int64_t y0 = at / g_.out_width * g_.stride_y - g_.pad_top, x0 = at % g_.out_width * g_.stride_x - g_.pad_left;
    const int64_t n = g_.group_inputs();
    const float* base = x + image * g_.in_pixels() * g_.inputs + group * n;
    // Whole rows of the kernel are contiguous where all channels of neighbouring pixels are taken.
    const bool merges = g_.dilation_x == 1 && g_.groups == 1 && x0 >= 0 && x0 + g_.kernel_width <= g_.width;
    for (int64_t ky = 0; ky < g_.kernel_height; ++ky) {
      const int64_t iy = y0 + ky * g_.dilation_y;
      if (iy < 0 || iy >= g_.height) {
        zero(row, g_.kernel_width * n);
      } else if (merges) {
        copy(row, base + (iy * g_.width + x0) * n, g_.kernel_width * n);
      } else {
        for (int64_t kx = 0; kx < g_.kernel_width; ++kx) {
          const int64_t ix = x0 + kx * g_.dilation_x;
          if (ix < 0 || ix >= g_.width) zero(row + kx * n, n);
          else copy(row + kx * n, base + (iy * g_.width + ix) * g_.inputs, n);
        }
      }
      row += g_.kernel_width * n;
    }
  }

  void gather_nchw(const float* x, int64_t pixel, int64_t group, float* row) const {
    const int64_t image = pixel / g_.out_pixels(), at = pixel % g_.out_pixels();
    const int64_t y0 = at / g_.out_width * g_.stride_y - g_.pad_top, x0 = at % g_.out_width * g_.stride_x - g_.pad_left;
    const int64_t n = g_.group_inputs();
    const float* base = x + (image * g_.inputs + group * n) * g_.in_pixels();
    const bool merges = g_.dilation_x == 1 && x0 >= 0 && x0 + g_.kernel_width <= g_.width;
    for (int64_t c = 0; c < n; ++c, base += g_.in_pixels())
      for (int64_t ky = 0; ky < g_.kernel_height; ++ky, row += g_.kernel_width) {
        const int64_t iy = y0 + ky * g_.dilation_y;
        if (iy < 0 || iy >= g_.height) {
          zero(row, g_.kernel_width);
        } else if (merges) {
          copy(row, base + iy * g_.width + x0, g_.kernel_width);
        } else {
          for (int64_t kx = 0; kx < g_.kernel_width; ++kx) {
            const int64_t ix = x0 + kx * g_.dilation_x;
            row[kx] = ix < 0 || ix >= g_.width ? 0.0f : base[iy * g_.width + ix];
          }
        }
      }
  }

  // Rows are short: a loop that the compiler turns into vectors beats a call.
  static void copy(float* to, const float* from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
  static void zero(float* to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = 0.0f;
  }

  void multiply(const float* rows, int64_t first, int64_t last, int64_t group, float* y, const float* residual) const {
    const int64_t outputs = g_.group_outputs();
    GemmF32Args args{};
    args.taps = 1;
    args.depth = depth_;
    args.b = weights_[static_cast<size_t>(group)]->as<float>();
    args.b_panel = depth_ * kernel_->columns;
    args.bias = bias_[static_cast<size_t>(group)].as<float>();
    args.columns = outputs;
    args.c_row = g_.outputs;
    args.c_group = 16;
    args.act = act_;
    args.first = args.last = true;
    const int64_t tiles = divide_up(last - first, kernel_->rows);
    const EvenParts parts(last - first, tiles);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const float* pointers[32];
      const auto [start, rows_of_tile] = parts[tile];
      const int64_t p = first + start;
      args.rows = rows_of_tile;
      for (int64_t i = 0; i < kernel_->rows; ++i) pointers[i] = rows + (p - first + std::min(i, args.rows - 1)) * depth_;
      args.a = pointers;
      const int64_t at = p * g_.outputs + group * outputs;
      args.c = y + at;
      args.residual = residual ? residual + at : nullptr;
      kernel_->run(&args);
    }
  }

  Geometry g_;
  Layout from_;
  bool add_;
  int64_t depth_ = 0, block_ = 0;
  ThreadAreas areas_;  // gathered rows
  const GemmF32* kernel_;
  ActArgs act_{};
  std::vector<std::shared_ptr<const Buffer>> weights_;
  std::vector<Buffer> bias_;
};

class Im2col : public ConvolutionRoutine, public Estimating {
 public:
  Im2col(Layout from, const char* id) : ConvolutionRoutine(id, from, Layout::nhwc) {}
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (gemm_variants(Layout::nhwc, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    if (g.taps() == 1) return Verdict::no("a 1x1 kernel has no patches to gather");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::nhwc, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    Estimate e = convolution_estimate(g, variant, 1);
    // Floats are gathered in runs: of a row of the kernel with the channels last, of a row of the kernel of one channel else.
    const double floats = static_cast<double>(g.images * g.out_pixels() * g.inputs * g.taps());
    const double run = static_cast<double>(in_ == Layout::nchw ? g.kernel_width
                                           : g.groups > 1      ? g.group_inputs()
                                                               : g.kernel_width * g.inputs);
    e.work += floats * kGathered + floats / run * kRun;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<Im2colKernel>(p, in_, variant, c);
  }

 private:
  // Operations that gathering a float takes, and beginning a run of them.
  static constexpr double kGathered = 56, kRun = 560;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Im2col>(Layout::nhwc, "conv2/im2col:f32:nhwc:cpu");
  // Reads the caller's own layout, so that the first layer needs no conversion.
  c.add<Im2col>(Layout::nchw, "conv2/im2col:f32:nchw-nhwc:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
