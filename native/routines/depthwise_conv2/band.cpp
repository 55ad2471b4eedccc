// depthwise_conv2/band: a tile of the image is copied with its border, a few channels at a time, and neighbouring outputs are
// summed up in registers tap by tap: for any kernel, stride and dilation, large kernels above all.
#include "products/band.h"

namespace pw {
namespace {

class BandKernel : public PieceKernel {
 public:
  BandKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), act_(*epilogue_activation(p)), kernel_(variant_ukernel<BandF32>(PW_KIND_BAND_F32, variant)),
        lanes_(kernel_.lanes), vectors_(std::max<int64_t>(1, 16 / lanes_)),
        blocks_(divide_up(g_.inputs, lanes_ * vectors_)), tile_(g_, lanes_ * vectors_, blocks_, p.threads) {
    const int64_t taps = g_.taps(), padded = round_up(g_.inputs, lanes_);
    weights_ = shared_packing(constants[1].id, "band/" + std::to_string(lanes_), [&] {
      const auto* w = constants[1].as<float>();
      Buffer packed(static_cast<size_t>(padded * taps) * 4);
      for (int64_t c = 0; c < padded; ++c)
        for (int64_t t = 0; t < taps; ++t)
          packed.as<float>()[(c / lanes_ * taps + t) * lanes_ + c % lanes_] = c < g_.inputs ? w[c * taps + t] : 0.0f;
      return packed;
    }, static_cast<size_t>(padded * taps) * 4);
    bias_ = pack_bias(bias_of(p, constants), g_.inputs, 16);
    offsets_ = Buffer(static_cast<size_t>(taps) * sizeof(int32_t));
    for (int64_t ky = 0; ky < g_.kernel_height; ++ky)
      for (int64_t kx = 0; kx < g_.kernel_width; ++kx)
        offsets_.as<int32_t>()[ky * g_.kernel_width + kx] = static_cast<int32_t>(tile_.offset(g_, ky, kx) * lanes_);
    areas_ = {round_up(vectors_ * plane() * 4, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_->bytes() + bias_.bytes(); }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return weights_->memory(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto* own = areas_.own<float>(workspace, team);
    const int64_t tiles = tile_.row_tiles * tile_.column_tiles;
    team.each(g_.images * tiles * blocks_, 1, [&](int64_t index, int64_t) {
      const int64_t image = index / blocks_ / tiles;
      const BandPlace place(g_, tile_, index / blocks_ % tiles);
      const int64_t first = index % blocks_ * lanes_ * vectors_;
      bring(x + image * g_.in_pixels() * g_.inputs + first, place, std::min(g_.inputs - first, lanes_ * vectors_), own);
      const int64_t at = ((image * g_.out_height + place.oy) * g_.out_width + place.ox) * g_.outputs;
      for (int64_t v = 0, c = first; v < vectors_ && c < g_.inputs; ++v, c += lanes_)
        outputs(place, c, own + v * plane(), y + at + c, residual ? residual + at + c : nullptr);
    });
  }

 private:
  int64_t plane() const { return tile_.plane(lanes_); }

  void bring(const float* x, const BandPlace& place, int64_t channels, float* to) const {
    place.bring(
        g_, tile_,
        [&](int64_t begin, int64_t end) {
          for (int64_t v = 0; v < vectors_; ++v) zero_floats(to + v * plane() + begin * lanes_, (end - begin) * lanes_);
        },
        [&](int64_t row, int64_t column, int64_t count, int64_t at) {
          BandCopyArgs args{x + (row * g_.width + column) * g_.inputs, to + at * lanes_, g_.stride_x * g_.inputs, count, 0, 1, 0};
          for (int64_t c = 0; c < channels; c += lanes_, args.x += lanes_, args.to += plane()) {
            args.channels = std::min(channels - c, lanes_);
            kernel_.copy(&args);
          }
        });
  }

  void outputs(const BandPlace& place, int64_t channel, const float* x, float* y, const float* residual) const {
    BandArgs args{};
    args.x = x;
    args.x_row = g_.stride_y * tile_.row_pixels * lanes_;
    args.offsets = offsets_.as<int32_t>();
    args.weights = weights_->as<float>() + channel * g_.taps();
    args.taps = g_.taps();
    args.bias = bias_.as<float>() + channel;
    args.y = y;
    args.residual = residual;
    args.y_row = g_.out_width * g_.outputs;
    args.y_pixel = g_.outputs;
    args.rows = place.rows, args.columns = place.columns;
    args.step = tile_.step;
    args.channels = std::min(g_.inputs - channel, lanes_);
    args.act = act_;
    kernel_.run(&args);
  }

  Geometry g_;
  bool add_;
  ActArgs act_;
  const BandF32& kernel_;
  int64_t lanes_, vectors_, blocks_;  // floats of a vector, vectors of a block of channels, blocks
  BandTile tile_;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_, offsets_;
  ThreadAreas areas_;
};

class Band : public ConvolutionRoutine, public Estimating {
 public:
  Band() : ConvolutionRoutine("depthwise_conv2/band:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc) { applying_ = PW_KIND_BAND_F32; }
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (ukernel_names(PW_KIND_BAND_F32, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return band_fits(p, BandTile(g, 16, 1, 1), 16);
  }
  std::vector<std::string> variants(const Problem& p) const override { return ukernel_names(PW_KIND_BAND_F32, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const int64_t lanes = variant_ukernel<BandF32>(PW_KIND_BAND_F32, variant).lanes, vectors = divide_up(g.inputs, lanes);
    return band_estimate(g, BandTile(g, lanes, vectors, p.threads), static_cast<double>(vectors), static_cast<double>(lanes),
                         static_cast<double>(g.taps()), static_cast<double>(lanes), static_cast<double>(vectors),
                         {.share = 0.3, .copied = 12.5, .piece = 0});
  }
  // Before depthwise_conv2/direct where that has no micro-kernel for the very kernel, and computes outputs one by one.
  Ports ports(const Problem& p) const override {
    const Geometry g(p);
    const bool known = g.kernel_height == g.kernel_width && (g.kernel_width == 3 || g.kernel_width == 5) && g.dilation_x == 1 &&
                       g.dilation_y == 1 && g.stride_x <= 2;
    Ports ports = ConvolutionRoutine::ports(p);
    ports.order = known ? 1 : -1;
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<BandKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Band>(); }
}  // namespace PW_COLLECT
}  // namespace pw
