// conv2/inside: like conv2/direct, but taps that lie outside of the image are not computed. Outputs that see the same taps make a
// rectangle of their own; each is a product over its taps alone. At high rates of dilation that leaves few: at rate 36 of a 3x3
// kernel on 28x28 pixels one of nine.
#include <algorithm>

#include "products/estimates.h"
#include "values/tables.h"

namespace pw {
namespace {

// Outputs [first, first + count) of an axis, which see taps [tap, tap + taps) of the kernel's.
struct Stretch {
  int64_t first, count, tap, taps;
};

// One axis of a convolution.
struct Axis {
  int64_t size, out, kernel, stride, pad, dilation;

  // Outputs that see a tap.
  int64_t seen(int64_t k) const {
    const int64_t at = k * dilation - pad;  // of the first output
    const int64_t first = at >= 0 ? 0 : divide_up(-at, stride), last = at >= size ? 0 : divide_up(size - at, stride);
    return std::max<int64_t>(0, std::min(out, last) - first);
  }
  // The share of all pairs of outputs and taps that lie inside.
  double share() const {
    int64_t all = 0;
    for (int64_t k = 0; k < kernel; ++k) all += seen(k);
    return static_cast<double>(all) / (static_cast<double>(out) * static_cast<double>(kernel));
  }
  std::vector<Stretch> stretches() const {
    std::vector<Stretch> found;
    for (int64_t o = 0, next; o < out; o = next) {
      const int64_t at = o * stride - pad;
      const int64_t first = at >= 0 ? 0 : std::min(kernel, divide_up(-at, dilation));
      const int64_t last = at >= size ? 0 : std::min(kernel, divide_up(size - at, dilation));
      // The next output whose first tap or whose last one is another.
      next = out;
      if (first > 0) next = std::min(next, divide_up(pad - (first - 1) * dilation, stride));
      if (last > 0) next = std::min(next, divide_up(size - (last - 1) * dilation + pad, stride));
      const int64_t taps = std::max<int64_t>(0, last - first), tap = taps ? first : 0;
      if (!found.empty() && found.back().tap == tap && found.back().taps == taps) found.back().count += next - o;
      else found.push_back({o, next - o, tap, taps});
    }
    return found;
  }
};

Axis vertical(const Geometry& g) { return {g.height, g.out_height, g.kernel_height, g.stride_y, g.pad_top, g.dilation_y}; }
Axis horizontal(const Geometry& g) { return {g.width, g.out_width, g.kernel_width, g.stride_x, g.pad_left, g.dilation_x}; }

class InsideKernel : public PieceKernel {
 public:
  InsideKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), act_(*epilogue_activation(p)), kernel_(gemm_kernel(variant)) {
    const float* bias = bias_of(p, constants);
    for (int64_t group = 0; group < g_.groups; ++group) {
      const int64_t first = group * g_.group_outputs();
      weights_.push_back(pack_convolution(constants[1], first, g_.group_outputs(), g_.group_inputs(), g_.taps(), kernel_.columns));
      bias_.push_back(pack_bias(bias ? bias + first : nullptr, g_.group_outputs(), kernel_.columns));
    }
    // As many taps per pass as keep a tile of A in half of L1.
    const int64_t depth = g_.group_inputs();
    const int64_t most = std::max<int64_t>(1, static_cast<int64_t>(cpu().l1d) / 2 / 4 / kernel_.rows / depth);
    const int64_t panels = divide_up(g_.group_outputs(), kernel_.columns);
    const auto rows = vertical(g_).stretches(), columns = horizontal(g_).stretches();
    for (const Stretch& v : rows)
      for (const Stretch& h : columns) {
        Rectangle r{v, h, h.count, v.count, g_.outputs, {}};
        // Tiles lie along the rows or down the columns, whichever they fill better; whole rows follow each other.
        if (h.count == g_.out_width) r.length = v.count * h.count, r.lines = 1;
        else if (calls(v.count) * h.count < calls(h.count) * v.count)
          r.length = v.count, r.lines = h.count, r.step = g_.out_width * g_.outputs;
        for (int64_t ky = v.tap; ky < v.tap + v.taps; ++ky) {
          // Rows of the kernel that are seen from end to end follow each other.
          const int64_t tap = ky * g_.kernel_width + h.tap;
          if (!r.passes.empty() && r.passes.back().tap + r.passes.back().taps == tap) r.passes.back().taps += h.taps;
          else if (h.taps > 0) r.passes.push_back({tap, h.taps});
        }
        std::vector<Pass> cut;
        for (const Pass& pass : r.passes)
          for (int64_t t = 0; t < pass.taps; t += most) cut.push_back({pass.tap + t, std::min(most, pass.taps - t)});
        r.passes = cut.empty() ? std::vector<Pass>{{0, 0}} : cut;
        const int64_t tiles = r.lines * calls(r.length);
        const int64_t taps = std::max<int64_t>(1, v.taps * h.taps), chunk = std::min(most, taps) * depth;
        const Blocking b = block(g_.images * tiles, panels, chunk * kernel_.columns * 4, kernel_.rows * taps * depth * 4, p.threads);
        for (int64_t i = 0; i < b.count(); ++i) {
          const int64_t tile = i % b.row_blocks * b.row_tiles, panel = b.first_panel(i);
          pieces_.push_back({static_cast<int64_t>(rectangles_.size()), tile, std::min(g_.images * tiles, tile + b.row_tiles), panel,
                             std::min(panels, panel + b.panels), taps});
        }
        rectangles_.push_back(std::move(r));
      }
    // Large ones first, so that the threads end together.
    std::stable_sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) { return a.work() > b.work(); });
    areas_ = {round_up(std::min(most, g_.taps()) * kernel_.rows * 8, 64), p.threads};
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return bytes_of(weights_); }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return weights_[0]->memory(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    auto** pointers = areas_.own<const float*>(workspace, team);
    const int64_t count = static_cast<int64_t>(pieces_.size());
    team.each(count * g_.groups, 1, [&](int64_t index, int64_t) {
      const int64_t group = index % g_.groups, at = group * g_.group_outputs();
      compute(pieces_[static_cast<size_t>(index / g_.groups)], group, x + group * g_.group_inputs(), y + at,
              residual ? residual + at : nullptr, pointers);
    });
  }

 private:
  // Taps [tap, tap + taps) of the kernel, row by row.
  struct Pass {
    int64_t tap, taps;
  };
  // Its outputs are `lines` of `length`, `step` floats from one output of a line to the next.
  struct Rectangle {
    Stretch v, h;
    int64_t length, lines, step;
    std::vector<Pass> passes;
  };
  // Tiles [tile, end) of a rectangle, counted through the images, by panels [panel, last).
  struct Piece {
    int64_t rectangle, tile, end, panel, last, taps;
    int64_t work() const { return (end - tile) * (last - panel) * taps; }
  };

  // Tiles of a line of outputs.
  int64_t calls(int64_t length) const { return divide_up(length, kernel_.rows); }

  void compute(const Piece& piece, int64_t group, const float* x, float* y, const float* residual, const float** pointers) const {
    const Rectangle& r = rectangles_[static_cast<size_t>(piece.rectangle)];
    const int64_t per_line = calls(r.length), per_image = r.lines * per_line, depth = g_.group_inputs();
    const int64_t first = piece.panel * kernel_.columns;
    const EvenParts tiles(r.length, per_line);
    GemmF32Args args{};
    args.a = pointers;
    args.depth = depth;
    args.b_panel = g_.taps() * depth * kernel_.columns;
    args.bias = bias_[static_cast<size_t>(group)].as<float>() + first;
    args.columns = std::min(piece.last * kernel_.columns, g_.group_outputs()) - first;
    args.c_row = r.step;
    args.c_group = 16;
    args.act = act_;
    for (size_t i = 0; i < r.passes.size(); ++i) {
      const Pass& pass = r.passes[i];
      args.taps = pass.taps;
      args.b = weights_[static_cast<size_t>(group)]->as<float>() + piece.panel * args.b_panel + pass.tap * depth * kernel_.columns;
      args.first = i == 0;
      args.last = i + 1 == r.passes.size();
      for (int64_t tile = piece.tile; tile < piece.end; ++tile) {
        const int64_t image = tile / per_image, line = tile % per_image / per_line;
        const auto [start, count] = tiles[tile % per_line];
        const bool down = r.step != g_.outputs;
        int64_t oy = down ? start : line, ox = down ? line : start;
        if (r.lines == 1 && !down) oy = start / r.h.count, ox = start % r.h.count;
        oy += r.v.first, ox += r.h.first;
        point(x + image * g_.in_pixels() * g_.inputs, down, oy, ox, count, pass, pointers);
        args.rows = count;
        const int64_t at = ((image * g_.out_height + oy) * g_.out_width + ox) * g_.outputs + first;
        args.c = y + at;
        args.residual = residual ? residual + at : nullptr;
        kernel_.run(&args);
      }
    }
  }

  // Pointers to the pixels that `rows` outputs from (oy, ox) on see at the taps of a pass.
  void point(const float* x, bool down, int64_t oy, int64_t ox, int64_t rows, const Pass& pass, const float** to) const {
    const int64_t tile_rows = kernel_.rows;
    for (int64_t i = 0; i < tile_rows; ++i) {
      const float* pixel = x + ((oy * g_.stride_y - g_.pad_top) * g_.width + ox * g_.stride_x - g_.pad_left) * g_.inputs;
      int64_t ky = pass.tap / g_.kernel_width, kx = pass.tap % g_.kernel_width;
      for (int64_t t = 0; t < pass.taps; ++t) {
        to[t * tile_rows + i] = pixel + (ky * g_.dilation_y * g_.width + kx * g_.dilation_x) * g_.inputs;
        if (++kx == g_.kernel_width) kx = 0, ++ky;
      }
      if (i + 1 >= rows) continue;  // the last row is repeated
      if (down) ++oy;
      else if (++ox == g_.out_width) ox = 0, ++oy;
    }
  }

  Geometry g_;
  bool add_;
  ActArgs act_;
  const GemmF32& kernel_;
  std::vector<std::shared_ptr<const Buffer>> weights_;
  std::vector<Buffer> bias_;
  std::vector<Rectangle> rectangles_;
  std::vector<Piece> pieces_;
  ThreadAreas areas_;  // pointers
};

class Inside : public ConvolutionRoutine, public Estimating {
 public:
  Inside() : ConvolutionRoutine("conv2/inside:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc) {}
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (gemm_variants(in_, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    if (!g.pads()) return Verdict::no("no tap lies outside of the image");
    return fits_table(p, saturated(g.out_pixels(), 2), sizeof(Stretch));
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(in_, epilogue_act(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const GemmF32* kernel = ukernel<GemmF32>(PW_KIND_GEMM_F32, variant.substr(0, variant.find('/')));
    Estimate e;
    double pieces = 0;
    for (const Stretch& v : vertical(g).stretches())
      for (const Stretch& h : horizontal(g).stretches()) {
        const double taps = static_cast<double>(std::max<int64_t>(1, v.taps * h.taps));
        add_product(e, {.rows = static_cast<double>(g.images * v.count * h.count),
                        .depth = static_cast<double>(g.group_inputs()) * taps,
                        .columns = static_cast<double>(g.group_outputs()),
                        .taps = taps,
                        .count = static_cast<double>(g.groups),
                        .looked_up = true}, *kernel);
        pieces += e.pieces;
      }
    e.pieces = pieces;
    e.work *= kMore;
    return e;
  }
  Ports ports(const Problem& p) const override {
    const Geometry g(p);
    Ports ports = ConvolutionRoutine::ports(p);
    ports.order = vertical(g).share() * horizontal(g).share() < kFewTaps ? -1 : 1;
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<InsideKernel>(p, variant, c);
  }

 private:
  static constexpr double kFewTaps = 0.8, kMore = 1.15;  // kMore: times the work of tiles of one convolution
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Inside>(); }
}  // namespace PW_COLLECT
}  // namespace pw
