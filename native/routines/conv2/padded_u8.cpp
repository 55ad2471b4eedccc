// conv2/padded on u8: the image is copied once, with its border, and tiles of the matrix unit walk over it: the pixels under a
// row of the kernel are one row of a tile, the next output's begin a stride of pixels behind.
#include <cstring>

#include "products/estimates_u8.h"
#include "products/geometry_u8.h"
#include "products/matrix_u8.h"

namespace pw {
namespace {

// What the taps read: `count` runs of `length` u8, in tiles of `steps` times `step` words.
struct Taps {
  int64_t count, length, steps, step;
  Taps(const Geometry& g, const GemmU8& kernel)
      : count(in_rows(g) ? g.kernel_height : g.taps()), length((in_rows(g) ? g.kernel_width : 1) * g.inputs),
        steps(divide_up(divide_up(length, kernel.group), kernel.most_step)),
        step(divide_up(divide_up(length, kernel.group), steps)) {}
  int64_t bytes() const { return steps * step * 4; }
  static bool in_rows(const Geometry& g) { return g.dilation_x == 1; }
};

// Two rows of outputs that fill half a tile each, or one.
int64_t line_of(const Geometry& g, const GemmU8& kernel) { return (2 * g.out_width <= kernel.rows ? 2 : 1) * g.out_width; }

class PaddedU8Kernel : public Kernel {
 public:
  PaddedU8Kernel(const Problem& p, const GemmU8& kernel, const Constants& constants)
      : g_(p), taps_(g_, kernel), add_(p.epilogue.add), threads_(p.threads),
        width_((g_.out_width - 1) * g_.stride_x + (g_.kernel_width - 1) * g_.dilation_x + 1),
        height_((g_.out_height - 1) * g_.stride_y + (g_.kernel_height - 1) * g_.dilation_y + 1),
        product_(kernel, g_.images * g_.out_pixels(), line_of(g_, kernel), g_.outputs, taps_.count, taps_.steps, taps_.step,
                 requantise(p, constants), p.threads),
        weights_(constants[1], bias_of(p, constants), 0, g_.outputs, g_.inputs, g_.taps(), product_,
                 scale_in(constants, 0), {taps_.length, taps_.bytes()}),
        zero_(scale_in(constants, 0).zero) {
    product_.out.saturates = saturates(product_.out, weights_.most());
  }

  // The copy, then the products.
  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override { return static_cast<size_t>(copy_bytes() + threads_ * product_.area()); }
  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const override {
    if (phase == 0) return {};
    return weights_.from(product_.blocking.first_panel(index, count));
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* copy = static_cast<uint8_t*>(workspace);
    if (team.phase == 0) {
      const auto* x = static_cast<const uint8_t*>(in[0]);
      team.each(g_.images * height_, 1, [&](int64_t row, int64_t) { copy_row(x, row, copy + row * row_bytes()); });
      return;
    }
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    char* area = static_cast<char*>(workspace) + copy_bytes() + team.index * product_.area();
    team.each(product_.blocking.count(), 1, [&](int64_t index, int64_t) {
      walk_block(product_, weights_, index, static_cast<uint8_t*>(out[0]), residual, area,
                 [&](int64_t row, int64_t rows, const void** to, char*) { fill(copy, row, rows, to); });
    });
  }

 private:
  int64_t row_bytes() const { return width_ * g_.inputs; }
  // The last tap's words reach beyond the last pixel, where weights are zero.
  int64_t copy_bytes() const { return round_up(g_.images * height_ * row_bytes() + taps_.bytes(), 64); }

  void copy_row(const uint8_t* x, int64_t row, uint8_t* to) const noexcept {
    const int64_t iy = row % height_ - g_.pad_top, left = g_.pad_left * g_.inputs;
    if (iy < 0 || iy >= g_.height) {
      std::memset(to, zero_, static_cast<size_t>(row_bytes()));
      return;
    }
    const int64_t inside = std::min(g_.width * g_.inputs, row_bytes() - left);
    const int64_t before = std::min(left, row_bytes());
    std::memset(to, zero_, static_cast<size_t>(before));
    if (inside > 0)
      std::memcpy(to + left, x + (row / height_ * g_.height + iy) * g_.width * g_.inputs, static_cast<size_t>(inside));
    const int64_t end = before + std::max<int64_t>(0, inside);
    std::memset(to + end, zero_, static_cast<size_t>(row_bytes() - end));
  }

  void fill(const uint8_t* copy, int64_t row, int64_t rows, const void** to) const noexcept {
    const int64_t tile_rows = product_.kernel->rows;
    int64_t line = row / g_.out_width, ox = row % g_.out_width;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t y = line / g_.out_height * height_ + line % g_.out_height * g_.stride_y;
      to[i] = copy + (y * width_ + ox * g_.stride_x) * g_.inputs;
      if (++ox == g_.out_width) ox = 0, ++line;
    }
    for (int64_t i = rows; i < tile_rows; ++i) to[i] = to[rows - 1];
    for (int64_t t = 1; t < taps_.count; ++t) {
      const int64_t ky = Taps::in_rows(g_) ? t : t / g_.kernel_width, kx = Taps::in_rows(g_) ? 0 : t % g_.kernel_width;
      const int64_t offset = (ky * g_.dilation_y * width_ + kx * g_.dilation_x) * g_.inputs;
      for (int64_t i = 0; i < tile_rows; ++i) to[t * tile_rows + i] = static_cast<const uint8_t*>(to[i]) + offset;
    }
  }

  Geometry g_;
  Taps taps_;
  bool add_;
  int64_t threads_;
  int64_t width_, height_;  // of an image's copy, in pixels
  ProductU8 product_;
  WeightsU8 weights_;
  int32_t zero_;
};

class PaddedU8 : public Routine, public Estimating {
 public:
  PaddedU8()
      : Routine({.id = "conv2/padded:u8:nhwc:cpu", .accuracy = Accuracy::quantised, .takes_epilogue = true,
                 .requires_ = "amx_tile+amx_int8"}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution_u8(p, PW_KIND_GEMM_U8); !v) return v;
    if (p.integer("groups") != 1) return Verdict::no("groups are not 1");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names = gemm_u8_variants(epilogue_act(p));
    std::erase_if(names, [](const std::string& name) { return gemm_u8_kernel(name).most_step == 1; });
    return names;
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const GemmU8& kernel = gemm_u8_kernel(variant);
    const Taps taps(g, kernel);
    const int64_t line = line_of(g, kernel), lines = divide_up(g.images * g.out_pixels(), line);
    // No tile crosses the end of a line.
    Estimate e;
    add_product(e, {lines * round_up(line, kernel.rows), taps.bytes(), g.outputs, taps.count, 1, true, true,
                    end_of(epilogue_act(p))}, kernel);
    const double height = static_cast<double>((g.out_height - 1) * g.stride_y + (g.kernel_height - 1) * g.dilation_y + 1);
    const double width = static_cast<double>((g.out_width - 1) * g.stride_x + (g.kernel_width - 1) * g.dilation_x + 1);
    const double copy = static_cast<double>(g.images * g.inputs) * height * width;
    e.move(2 * copy, copy);
    e.phases = 2;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<PaddedU8Kernel>(p, gemm_u8_kernel(variant), c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<PaddedU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
