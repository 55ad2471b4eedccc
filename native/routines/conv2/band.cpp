// conv2/band: convolutions in groups, a vector of output channels at a time. A tile of the image is copied with its border, and
// neighbouring outputs are summed up in registers, product by product; nothing is multiplied by a zero that fills up a tile.
#include "products/band.h"

namespace pw {
namespace {

// A vector of output channels, and how its inputs lie in the copy. `spread`: all lanes are of one group, and each sees every
// one of its inputs: these lie in planes of one float per pixel. Else there are as many planes, of a vector per pixel that
// holds for each lane an input of its own group.
struct BandVector {
  int64_t first, count;  // of the outputs
  int64_t input;         // the first
  bool spread;
};

class GroupedBand : public PieceKernel {
 public:
  GroupedBand(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), act_(*epilogue_activation(p)), kernel_(variant_ukernel<BandF32>(PW_KIND_BAND_F32, variant)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), lanes_(kernel_.lanes), depth_(g_.group_inputs()),
        per_block_(block(g_, lanes_)), blocks_(divide_up(divide_up(g_.outputs, lanes_), per_block_)),
        tile_(g_, floats(g_, lanes_), blocks_, p.threads) {
    for (int64_t c = 0; c < g_.outputs; c += lanes_) vectors_.push_back(vector(g_, c, lanes_));
    const int64_t taps = g_.taps(), terms = depth_ * taps, width = g_.group_outputs();
    weights_ = shared_packing(constants[1].id, "conv2/band/" + std::to_string(g_.groups) + "/" + std::to_string(lanes_), [&] {
      const auto* w = constants[1].as<float>();
      Buffer packed(static_cast<size_t>(static_cast<int64_t>(vectors_.size()) * terms * lanes_) * 4);
      float* to = packed.as<float>();
      for (const BandVector& v : vectors_)
        for (int64_t t = 0; t < terms; ++t)
          for (int64_t l = 0; l < lanes_; ++l) *to++ = l < v.count ? w[(v.first + l) * terms + t] : 0.0f;
      return packed;
    }, static_cast<size_t>(static_cast<int64_t>(vectors_.size()) * terms * lanes_) * 4);
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, 16);
    for (int spread = 0; spread < 2; ++spread) {
      const int64_t pixel = spread ? 1 : lanes_;
      offsets_[spread] = Buffer(static_cast<size_t>(terms) * sizeof(int32_t));
      auto* to = offsets_[spread].as<int32_t>();
      for (int64_t i = 0; i < depth_; ++i)
        for (int64_t ky = 0; ky < g_.kernel_height; ++ky)
          for (int64_t kx = 0; kx < g_.kernel_width; ++kx)
            *to++ = static_cast<int32_t>(i * tile_.plane(pixel) + tile_.offset(g_, ky, kx) * pixel);
    }
    // The channel that lane l of plane i holds, from the first input of the vector's first group on.
    regular_ = depth_ == width && lanes_ % depth_ == 0 && depth_ > 1 && (depth_ & (depth_ - 1)) == 0;
    areas_ = {round_up(tile_.plane(floats(g_, lanes_)) * 4, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_->bytes() + bias_.bytes(); }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return weights_->memory(); }

  // Vectors of outputs that a piece has: those of a group, or as many as a cache line holds.
  static int64_t block(const Geometry& g, int64_t lanes) {
    return g.group_outputs() % lanes == 0 ? g.group_outputs() / lanes * divide_up(16, std::max<int64_t>(16, g.group_outputs()))
                                          : std::max<int64_t>(1, 16 / lanes);
  }
  // Of a pixel in the copy.
  static int64_t floats(const Geometry& g, int64_t lanes) {
    for (int64_t c = 0; c < g.outputs; c += lanes)
      if (!vector(g, c, lanes).spread) return g.group_inputs() * lanes;
    return g.group_inputs();
  }
  static BandVector vector(const Geometry& g, int64_t c, int64_t lanes) {
    const int64_t count = std::min(lanes, g.outputs - c), width = g.group_outputs();
    return {c, count, c / width * g.group_inputs(), c / width == (c + count - 1) / width};
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto* own = areas_.own<float>(workspace, team);
    const int64_t tiles = tile_.row_tiles * tile_.column_tiles, count = static_cast<int64_t>(vectors_.size());
    team.each(g_.images * tiles * blocks_, 1, [&](int64_t index, int64_t) {
      const int64_t image = index / blocks_ / tiles, first = index % blocks_ * per_block_;
      const BandPlace place(g_, tile_, index / blocks_ % tiles);
      const float* pixels = x + image * g_.in_pixels() * g_.inputs;
      const int64_t at = ((image * g_.out_height + place.oy) * g_.out_width + place.ox) * g_.outputs;
      const BandVector* before = nullptr;
      for (int64_t i = first; i < std::min(count, first + per_block_); ++i) {
        const BandVector& v = vectors_[static_cast<size_t>(i)];
        if (!v.spread) bring_parts(pixels, place, v, own);
        else if (!before || !before->spread || before->input != v.input) bring_planes(pixels, place, v, own);
        outputs(place, i, own, y + at + v.first, residual ? residual + at + v.first : nullptr);
        before = &v;
      }
    });
  }

 private:
  void bring_planes(const float* x, const BandPlace& place, const BandVector& v, float* to) const {
    const int64_t plane = tile_.plane(1);
    place.bring(
        g_, tile_,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = 0; i < depth_; ++i) zero_floats(to + i * plane + begin, end - begin);
        },
        [&](int64_t row, int64_t column, int64_t count, int64_t at) {
          transpose_.run(x + (row * g_.width + column) * g_.inputs + v.input, g_.stride_x * g_.inputs, to + at, plane, count, depth_);
        });
  }

  void bring_parts(const float* x, const BandPlace& place, const BandVector& v, float* to) const {
    const int64_t plane = tile_.plane(lanes_), width = g_.group_outputs(), group = v.first / width;
    place.bring(
        g_, tile_,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = 0; i < depth_; ++i) zero_floats(to + i * plane + begin * lanes_, (end - begin) * lanes_);
        },
        [&](int64_t row, int64_t column, int64_t count, int64_t at) {
          const float* from = x + (row * g_.width + column) * g_.inputs + v.input;
          if (regular_) {
            const BandCopyArgs args{from, to + at * lanes_, g_.stride_x * g_.inputs, count, v.count, depth_, plane};
            kernel_.copy(&args);
            return;
          }
          for (int64_t i = 0; i < depth_; ++i)
            for (int64_t l = 0; l < lanes_; ++l) {
              float* lane = to + i * plane + at * lanes_ + l;
              const float* channel = from + ((v.first + l) / width - group) * depth_ + i;
              for (int64_t p = 0; p < count; ++p) lane[p * lanes_] = l < v.count ? channel[p * g_.stride_x * g_.inputs] : 0.0f;
            }
        });
  }

  void outputs(const BandPlace& place, int64_t index, const float* x, float* y, const float* residual) const {
    const BandVector& v = vectors_[static_cast<size_t>(index)];
    BandArgs args{};
    args.x = x;
    args.x_row = g_.stride_y * tile_.row_pixels * (v.spread ? 1 : lanes_);
    args.offsets = offsets_[v.spread].as<int32_t>();
    args.taps = depth_ * g_.taps();
    args.weights = weights_->as<float>() + index * args.taps * lanes_;
    args.bias = bias_.as<float>() + v.first;
    args.y = y;
    args.residual = residual;
    args.y_row = g_.out_width * g_.outputs;
    args.y_pixel = g_.outputs;
    args.rows = place.rows, args.columns = place.columns;
    args.step = tile_.step;
    args.channels = v.count;
    args.act = act_;
    v.spread ? kernel_.run_spread(&args) : kernel_.run(&args);
  }

  Geometry g_;
  bool add_;
  ActArgs act_;
  const BandF32& kernel_;
  const TransposeF32& transpose_;
  int64_t lanes_, depth_, per_block_, blocks_;  // floats of a vector, inputs of a group, vectors of a block, blocks
  BandTile tile_;
  std::vector<BandVector> vectors_;
  bool regular_ = false;  // groups have as many outputs as inputs, and a vector whole groups
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_, offsets_[2];
  ThreadAreas areas_;
};

class Band : public ConvolutionRoutine, public Estimating {
 public:
  Band() : ConvolutionRoutine("conv2/band:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc) { applying_ = PW_KIND_BAND_F32; }
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (g.groups == 1) return Verdict::no("there are no groups");
    if (ukernel_names(PW_KIND_BAND_F32, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    // Of the widest vectors.
    const int64_t floats = g.group_inputs() * (g.group_outputs() % 16 == 0 ? 1 : 16);
    if (Verdict v = band_fits(p, BandTile(g, floats, 1, 1), floats); !v) return v;
    return fits_table(p, saturated(g.group_inputs(), g.taps()), 2 * sizeof(int32_t));
  }
  std::vector<std::string> variants(const Problem& p) const override { return ukernel_names(PW_KIND_BAND_F32, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const int64_t lanes = variant_ukernel<BandF32>(PW_KIND_BAND_F32, variant).lanes, floats = GroupedBand::floats(g, lanes);
    const int64_t vectors = divide_up(g.outputs, lanes), blocks = divide_up(vectors, GroupedBand::block(g, lanes));
    const BandTile tile(g, floats, blocks, p.threads);
    const double share = kShare * static_cast<double>(tile.step) / static_cast<double>(BandTile::product_cycles(tile.step));
    return band_estimate(g, tile, static_cast<double>(vectors), static_cast<double>(lanes),
                         static_cast<double>(g.group_inputs() * g.taps()), static_cast<double>(floats),
                         static_cast<double>(blocks), {.share = share, .copied = 16, .piece = 15e3});
  }
  // Groups of fewer outputs than a tile of conv2/direct has columns: there zeros fill them up.
  Ports ports(const Problem& p) const override {
    Ports ports = ConvolutionRoutine::ports(p);
    ports.order = Geometry(p).group_outputs() < 16 ? -1 : 1;
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<GroupedBand>(p, variant, c);
  }

 private:
  static constexpr double kShare = 0.55;  // of the peak, where products wait for nothing
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Band>(); }
}  // namespace PW_COLLECT
}  // namespace pw
