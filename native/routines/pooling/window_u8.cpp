// Pooling of u8 values with channels last: max_pool2, average_pool2, global_max_pool, global_average_pool, and the mean
// over an image's pixels.
#include "routines/pooling/axis.h"
#include "spi/estimate.h"
#include "ukernels/kinds/pool_u8.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

enum class Mode { max, mean, global_max, global_mean };  // global: the window is the image

struct Window {
  WindowAxis axis[2];
  bool count_pad = false;
  Window(const Problem& p, Mode mode) {
    const Dims& in = p.in[0].shape;
    if (mode == Mode::global_max || mode == Mode::global_mean) {
      for (size_t i = 0; i < 2; ++i) axis[i] = {in[2 + i], 1, in[2 + i], 1, 0, 0, 1};
      return;
    }
    for (size_t i = 0; i < 2; ++i) axis[i] = window_axis(p, i);
    count_pad = mode == Mode::mean && p.integer("count_pad") != 0;
  }
};

class PoolU8Kernel : public PieceKernel {
 public:
  PoolU8Kernel(const PoolU8& kernel, Mode mode, const Problem& p, const Constants& constants)
      : kernel_(kernel), max_(mode == Mode::max || mode == Mode::global_max), window_(p, mode),
        images_(p.in[0].shape[0]), channels_(p.in[0].shape[1]), in_(scale_in(constants, 0)),
        out_(requantise(kNoActivation, scale_out(p, constants))),
        table_(max_ ? rescaling(in_, scale_out(p, constants)) : ByteTable()) {}
  size_t packed_bytes() const override { return table_.bytes(); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const auto &v = window_.axis[0], &h = window_.axis[1];
    const auto* x = static_cast<const uint8_t*>(in[0]);
    auto* y = static_cast<uint8_t*>(out[0]);
    // Rows of outputs, or pieces of the channels where there are few rows.
    const int64_t rows = images_ * v.out, work = rows * h.out * channels_ * v.kernel * h.kernel / 4;
    const int64_t piece = rows >= 2 * static_cast<int64_t>(team.count) ? channels_ : 64;
    const int64_t pieces = (channels_ + piece - 1) / piece;
    in_pieces(team, rows * pieces, 1, work, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = i / pieces, c = i % pieces * piece;
        one_row(x + row / v.out * v.length * h.length * channels_ + c, y + row * h.out * channels_ + c, row % v.out,
                std::min(piece, channels_ - c));
      }
    });
  }

 private:
  void one_row(const uint8_t* image, uint8_t* y, int64_t oy, int64_t channels) const noexcept {
    const auto &v = window_.axis[0], &h = window_.axis[1];
    const int64_t top = v.first(oy), bottom = v.last(oy);
    PoolU8Args args{};
    args.x_pixel = h.stride * channels_;
    args.y_pixel = channels_;
    args.tap_rows = std::max<int64_t>(0, bottom - top);
    args.x_tap_row = v.dilation * h.length * channels_;
    args.x_tap_column = h.dilation * channels_;
    args.channels = channels;
    args.out = out_;
    const uint8_t* row = image + (v.start(oy) + top * v.dilation) * h.length * channels_;
    for (int64_t ox = 0; ox < h.out; ox += args.pixels) {
      const int64_t left = h.first(ox), right = h.last(ox);
      // Neighbours that see the whole window too.
      args.pixels = 1;
      while (h.whole(ox) && ox + args.pixels < h.out && h.whole(ox + args.pixels)) ++args.pixels;
      args.tap_columns = std::max<int64_t>(0, right - left);
      args.x = row + (h.start(ox) + left * h.dilation) * channels_;
      args.y = y + ox * channels_;
      if (max_) {
        kernel_.max(&args);
        for (int64_t i = 0; i < args.pixels && !table_.nothing(); ++i)
          table_.apply(args.y + i * channels_, args.y + i * channels_, channels);
      } else {
        const int64_t tall = window_.count_pad ? v.padded_count(oy) : args.tap_rows;
        const int64_t wide = window_.count_pad ? h.padded_count(ox) : args.tap_columns;
        args.start = static_cast<int32_t>(-in_.zero * args.tap_rows * args.tap_columns);
        args.scale = in_.scale / static_cast<float>(std::max<int64_t>(1, tall) * std::max<int64_t>(1, wide));
        kernel_.sum(&args);
      }
    }
  }

  const PoolU8& kernel_;
  bool max_;
  Window window_;
  int64_t images_, channels_;
  Scale in_;
  RequantU8 out_;
  ByteTable table_;
};

class PoolU8Routine : public VectorU8Routine, public Estimating {
 public:
  PoolU8Routine(const std::string& layer, Mode mode)
      : VectorU8Routine(layer, "direct", Layout::nhwc, PW_KIND_POOL_U8), mode_(mode) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (card_.layer == "reduce" && !means_image(p)) return Verdict::no("it is not the mean over the pixels of an image");
    const Window w(p, mode_);
    if (w.axis[0].kernel * w.axis[1].kernel > 1 << 23) return Verdict::no("the window has more than 2^23 taps");
    for (const WindowAxis& a : w.axis)
      for (int64_t o : {int64_t{0}, a.out - 1})
        if (a.first(o) >= a.last(o)) return Verdict::no("a window lies outside of the image");
    return Verdict::ok();
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.3); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    return std::make_unique<PoolU8Kernel>(variant_ukernel<PoolU8>(kind_, variant), mode_, p, constants);
  }

 private:
  // What is left are the channels, whatever the output's rank.
  static bool means_image(const Problem& p) {
    if (p.word("op") != "mean" || p.in[0].shape.size() != 4) return false;
    auto axes = p.integers("axes");
    for (int64_t& a : axes) a += a < 0 ? 4 : 0;
    std::sort(axes.begin(), axes.end());
    return axes == std::vector<int64_t>{2, 3};
  }

  Mode mode_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<PoolU8Routine>("max_pool2", Mode::max);
  c.add<PoolU8Routine>("average_pool2", Mode::mean);
  c.add<PoolU8Routine>("global_max_pool", Mode::global_max);
  c.add<PoolU8Routine>("global_average_pool", Mode::global_mean);
  c.add<PoolU8Routine>("reduce", Mode::global_mean);
}
}  // namespace PW_COLLECT

}  // namespace pw
