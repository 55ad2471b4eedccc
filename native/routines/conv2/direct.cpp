// conv2/direct: every tap multiplies rows of the input where they lie; no copy of the input is made.
#include <algorithm>

#include "products/estimates.h"
#include "values/tables.h"

namespace pw {
namespace {

// A tap whose pixels lie above or below the image, or of the merged kind also beside it.
constexpr int32_t kOutside = -1, kClipped = -2;

// Row pointers of one tile come from a table of offsets per output pixel and tap; padding points to zeros.
//
// Merged: with channels last the pixels under one row of the kernel are contiguous, so that a row of the kernel is one
// tap of kernel_width * channels floats. Pixels at the left and right border are gathered into rows of their own.
class DirectKernel : public PieceKernel {
 public:
  DirectKernel(const Problem& p, Layout layout, const std::string& variant, const Constants& constants)
      : g_(p), layout_(layout), add_(p.epilogue.add), merged_(variant.ends_with(kMerged)) {
    const GemmF32& kernel = gemm_kernel(variant.substr(0, variant.find('/')));
    const bool blocked = layout == Layout::nchw16c;
    blocks_ = blocked ? g_.inputs / 16 : 1;
    product_.kernel = &kernel;
    product_.act = *epilogue_activation(p);
    product_.rows = blocked ? g_.out_pixels() : g_.images * g_.out_pixels();
    product_.columns = g_.group_outputs();
    taps_ = merged_ ? g_.kernel_height : g_.taps();
    product_.taps = taps_ * blocks_;
    product_.depth = blocked ? 16 : g_.group_inputs() * (merged_ ? g_.kernel_width : 1);
    product_.c_row = blocked ? 16 : g_.outputs;
    product_.c_group = blocked ? g_.out_pixels() * 16 : 16;
    const int64_t k = product_.taps * product_.depth;
    product_.chunk = chunk(k);
    product_.blocking = block(product_.row_tiles(), product_.panels(), product_.chunk * kernel.columns * 4,
                              kernel.rows * k * 4, p.threads);
    pack(constants, bias_of(p, constants));
    fill_offsets();
    zeros_ = zero_row(product_.depth);
    areas_ = {pointer_bytes() + (merged_ ? round_up(kernel.rows * taps_ * product_.depth * 4, 64) : 0), p.threads};
  }

  static constexpr const char* kMerged = "/rows";

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override {
    return offsets_.bytes() + bytes_of(weights_);
  }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const int64_t slabs = layout_ == Layout::nchw16c ? g_.images : 1, blocks = product_.blocking.count();
    const auto piece = Team::own_first(slabs * g_.groups * blocks, index, count);
    if (!piece) return {};
    Product p = product_;
    p.b = weights_[static_cast<size_t>(*piece / blocks % g_.groups)]->as<float>();
    return p.from_panel(p.blocking.first_panel(*piece % blocks));
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto** pointers = areas_.own<const float*>(workspace, team);
    auto* gathered = reinterpret_cast<float*>(reinterpret_cast<char*>(pointers) + pointer_bytes());
    const int64_t slabs = layout_ == Layout::nchw16c ? g_.images : 1;
    const int64_t blocks = product_.blocking.count();
    team.each(slabs * g_.groups * blocks, 1, [&](int64_t index, int64_t) {
      const int64_t group = index / blocks % g_.groups, slab = index / blocks / g_.groups;
      Product p = product_;
      p.b = weights_[static_cast<size_t>(group)]->as<float>();
      p.bias = bias_[static_cast<size_t>(group)].as<float>();
      const float* source = x + slab * g_.inputs * g_.in_pixels() + group * g_.group_inputs();
      const int64_t at = slab * g_.outputs * g_.out_pixels() + group * g_.group_outputs();
      walk_block(p, index % blocks, y + at, residual ? residual + at : nullptr, pointers,
                 [&, before = InsideTile{}](int64_t row, int64_t rows, const float** to) mutable {
                   if (!advance(before, row, rows, to)) fill(source, before, row, rows, to, gathered);
                 });
    });
  }

 private:
  int64_t pointer_bytes() const { return round_up(product_.taps * product_.kernel->rows * 8, 64); }

  // As many rows of B per pass as keep a tile of A in half of L1.
  int64_t chunk(int64_t k) const {
    if (product_.taps == 1) return k;
    const int64_t fit = static_cast<int64_t>(cpu().l1d) / 2 / 4 / product_.kernel->rows;
    const int64_t passes = divide_up(k, std::max(fit, product_.depth));
    return divide_up(divide_up(k, passes), product_.depth) * product_.depth;
  }

  void pack(const Constants& constants, const float* bias) {
    const int64_t tile = product_.kernel->columns;
    for (int64_t group = 0; group < g_.groups; ++group) {
      const int64_t first = group * g_.group_outputs();
      // Rows in the order (channel block, tap, channel): with one block, that of channels-last.
      if (blocks_ == 1) {
        weights_.push_back(
            pack_convolution(constants[1], first, g_.group_outputs(), g_.group_inputs(), g_.taps(), tile));
      } else {
        const auto* w = constants[1].as<float>();
        const int64_t taps = g_.taps(), inputs = g_.inputs;
        weights_.push_back(pack_panels(constants[1].id, "conv2/16c", taps * inputs, g_.outputs, tile,
                                       [=](int64_t row, int64_t column) {
                                         const int64_t channel = row / (16 * taps) * 16 + row % 16;
                                         return w[(column * inputs + channel) * taps + row / 16 % taps];
                                       }));
      }
      bias_.push_back(pack_bias(bias ? bias + first : nullptr, g_.group_outputs(), tile));
    }
  }

  void fill_offsets() {
    offsets_ = Buffer(static_cast<size_t>(g_.out_pixels() * taps_) * sizeof(int32_t));
    const int64_t pixel = layout_ == Layout::nchw16c ? 16 : g_.inputs, across = merged_ ? 1 : g_.kernel_width;
    auto* to = offsets_.as<int32_t>();
    for (int64_t oy = 0; oy < g_.out_height; ++oy)
      for (int64_t ox = 0; ox < g_.out_width; ++ox)
        for (int64_t ky = 0; ky < g_.kernel_height; ++ky)
          for (int64_t kx = 0; kx < across; ++kx) {
            const int64_t iy = oy * g_.stride_y - g_.pad_top + ky * g_.dilation_y;
            const int64_t ix = ox * g_.stride_x - g_.pad_left + kx * g_.dilation_x;
            const bool row_inside = iy >= 0 && iy < g_.height;
            const bool inside = ix >= 0 && ix + (merged_ ? g_.kernel_width : 1) <= g_.width;
            *to++ = !row_inside ? kOutside
                    : inside    ? static_cast<int32_t>((iy * g_.width + ix) * pixel)
                                : (merged_ ? kClipped : kOutside);
          }
  }

  // From the pointers to one tile to those of the next. False where it is not one whose pixels all lie within the image.
  bool advance(InsideTile& before, int64_t row, int64_t rows, const float** to) const {
    if (!before.is_before(row, rows, g_)) return false;
    const int64_t floats = rows * g_.stride_x * (layout_ == Layout::nchw16c ? 16 : g_.inputs);
    for (int64_t i = 0; i < product_.taps * product_.kernel->rows; ++i) to[i] += floats;
    before = {row, rows, before.ox + rows};
    return true;
  }

  void fill(const float* x, InsideTile& tile, int64_t row, int64_t rows, const float** to, float* gathered) const {
    const int64_t tile_rows = product_.kernel->rows, pixels = g_.out_pixels();
    int64_t image = row / pixels, pixel = row - image * pixels;
    tile = {};
    if (fill_inside(x + image * g_.inputs * g_.in_pixels(), tile, row, pixel, rows, to)) return;
    for (int64_t i = 0; i < tile_rows; ++i) {
      if (i > 0 && i < rows && ++pixel == pixels) pixel = 0, ++image;  // the last row is repeated
      const int32_t* offset = offsets_.as<int32_t>() + pixel * taps_;
      const float* base = x + image * g_.inputs * g_.in_pixels();
      for (int64_t b = 0; b < blocks_; ++b, base += 16 * g_.in_pixels())
        for (int64_t t = 0; t < taps_; ++t) {
          const float* from = base + offset[t];
          if (offset[t] == kOutside) from = zeros_;
          else if (offset[t] == kClipped) from = gather(base, pixel, t, gathered + (i * taps_ + t) * product_.depth);
          to[(b * taps_ + t) * tile_rows + i] = from;
        }
    }
  }

  // Outputs of one row whose pixels do not lie beside the image are as far from each other as the stride says: with few
  // channels looking up each of them takes as long as the products. False for others.
  bool fill_inside(const float* image, InsideTile& tile, int64_t row, int64_t pixel, int64_t rows, const float** to) const {
    const int64_t oy = pixel / g_.out_width, ox = pixel - oy * g_.out_width, x0 = ox * g_.stride_x - g_.pad_left;
    const int64_t reach = (rows - 1) * g_.stride_x + (g_.kernel_width - 1) * g_.dilation_x;
    if (ox + rows > g_.out_width || x0 < 0 || x0 + reach >= g_.width) return false;
    const int64_t floats = layout_ == Layout::nchw16c ? 16 : g_.inputs, across = merged_ ? 1 : g_.kernel_width;
    // Where rows of the kernel lie above or below the image, all their pointers are to the same zeros, and do not move on.
    const int64_t y0 = oy * g_.stride_y - g_.pad_top;
    if (y0 >= 0 && y0 + (g_.kernel_height - 1) * g_.dilation_y < g_.height) tile = {row, rows, ox};
    for (int64_t b = 0; b < blocks_; ++b, image += 16 * g_.in_pixels())
      for (int64_t ky = 0; ky < g_.kernel_height; ++ky) {
        const int64_t iy = y0 + ky * g_.dilation_y;
        const bool inside = iy >= 0 && iy < g_.height;
        const int64_t step = inside ? g_.stride_x * floats : 0;
        for (int64_t kx = 0; kx < across; ++kx) {
          const float* from = inside ? image + (iy * g_.width + x0 + kx * g_.dilation_x) * floats : zeros_;
          for (int64_t i = 0; i < rows; ++i, from += step) *to++ = from;
          for (int64_t i = rows; i < product_.kernel->rows; ++i) *to++ = from - step;
        }
      }
    return true;
  }

  // The pixels under row `ky` of the kernel, zeros where they lie beside the image.
  const float* gather(const float* image, int64_t pixel, int64_t ky, float* to) const {
    const int64_t iy = pixel / g_.out_width * g_.stride_y - g_.pad_top + ky * g_.dilation_y;
    const int64_t x0 = pixel % g_.out_width * g_.stride_x - g_.pad_left;
    for (int64_t kx = 0; kx < g_.kernel_width; ++kx) {
      const bool inside = x0 + kx >= 0 && x0 + kx < g_.width;
      for (int64_t c = 0; c < g_.inputs; ++c)
        to[kx * g_.inputs + c] = inside ? image[(iy * g_.width + x0 + kx) * g_.inputs + c] : 0.0f;
    }
    return to;
  }

  Geometry g_;
  Layout layout_;
  bool add_, merged_;
  int64_t blocks_ = 1, taps_ = 1;
  ThreadAreas areas_;  // pointers, and room for gathered rows
  Product product_{};
  std::vector<std::shared_ptr<const Buffer>> weights_;
  std::vector<Buffer> bias_;
  Buffer offsets_;
  const float* zeros_ = nullptr;
};

class Direct : public ConvolutionRoutine, public Estimating {
 public:
  Direct(Layout layout, const char* id) : ConvolutionRoutine(id, layout, layout) { card_.version = 5; }
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (in_ == Layout::nchw16c && g.groups > 1) return Verdict::no("groups do not align with blocks of 16 channels");
    if (g.inputs * g.in_pixels() > INT32_MAX) return Verdict::no("an image has more than 2^31 elements");
    if (gemm_variants(in_, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel writes whole blocks of 16 channels");
    return fits_table(p, saturated(g.out_pixels(), g.taps()), sizeof(int32_t));
  }
  // Few channels also with the taps of a kernel row merged: a tap is then long enough to be worth its pointers.
  std::vector<std::string> variants(const Problem& p) const override {
    const std::vector<std::string> plain = gemm_variants(in_, epilogue_act(p));
    std::vector<std::string> names;
    const Geometry g(p);
    if (in_ == Layout::nhwc && g.few_channels_in_runs())
      for (const auto& kernel : plain) names.push_back(kernel + DirectKernel::kMerged);  // first: the default takes it
    names.insert(names.end(), plain.begin(), plain.end());
    return names;
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const double blocks = in_ == Layout::nchw16c ? static_cast<double>(g.inputs) / 16 : 1;
    const int64_t taps = variant.ends_with(DirectKernel::kMerged) ? g.kernel_height : g.taps();
    return convolution_estimate(g, variant, blocks * static_cast<double>(taps), true);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DirectKernel>(p, in_, variant, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Direct>(Layout::nhwc, "conv2/direct:f32:nhwc:cpu");
  c.add<Direct>(Layout::nchw16c, "conv2/direct:f32:nchw16c:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
