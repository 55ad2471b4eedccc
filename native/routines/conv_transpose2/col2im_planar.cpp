// conv_transpose2/col2im_planar: weights times a line of the input where pixels lie side by side, one product whose rows are
// (tap, output); then each line of outputs is the sum of the rows that fall on it. Vectors lie along lines, so that few outputs
// and small strides fill them; lines of the product wait in a ring until the last output that they reach.
#include "routines/conv_transpose2/lines.h"
#include "routines/conv_transpose2/tiles.h"
#include "spi/estimate.h"
#include "ukernels/kinds/taps_f32.h"

namespace pw {
namespace {

// How the work is cut: blocks of a group's outputs, and pieces of positions, m x n.
struct LineTiling {
  int64_t channels, row_pieces, column_pieces, m, n;
};

// What it costs, in the units of TilingCost.
struct LineCost {
  const TransposedGeometry& g;
  Positions rows, columns;
  int64_t threads, kernel_columns;

  int64_t depth() const { return g.inputs / g.groups; }
  int64_t taps() const { return g.kernel_height * g.kernel_width; }

  LineTiling tiling() const {
    const int64_t l2 = static_cast<int64_t>(cpu().l2) / 4, outputs = g.outputs / g.groups, lines = rows.reach + 1;
    auto fit = [&](int64_t channels) { return l2 / 2 / (taps() * channels * lines) - columns.reach; };
    LineTiling t{outputs, 1, 1, rows.count(), columns.count()};
    while (t.channels > 1 && fit(t.channels) < std::min(columns.count(), 8 * (columns.reach + kernel_columns)))
      t.channels = divide_up(t.channels, 2);
    t.n = std::clamp<int64_t>(fit(t.channels), std::min(columns.count(), columns.reach + kernel_columns), columns.count());
    const int64_t others = g.images * g.groups * divide_up(outputs, t.channels);
    t.column_pieces = divide_up(columns.count(), t.n);
    // Each thread gets a piece: of rows, whose edges cost least where there are many, else of columns.
    if (const int64_t parts = divide_up(threads, others * t.column_pieces); parts > 1) {
      if (rows.count() >= 2 * parts * lines) t.row_pieces = parts;
      else t.column_pieces *= parts;
    }
    t.m = divide_up(rows.count(), t.row_pieces);
    t.n = divide_up(columns.count(), t.column_pieces);
    t.row_pieces = divide_up(rows.count(), t.m), t.column_pieces = divide_up(columns.count(), t.n);
    return t;
  }

  double operator()() const {
    const LineTiling t = tiling();
    const int64_t pieces = g.images * g.groups * divide_up(g.outputs / g.groups, t.channels) * t.row_pieces * t.column_pieces;
    const auto pixels = static_cast<double>(rows.inputs(t.m) * round_up(columns.inputs(t.n), kernel_columns));
    const auto n = static_cast<double>(taps() * t.channels), k = static_cast<double>(depth());
    // Lines of phases: the call and the sources of each.
    const auto lines = static_cast<double>(t.m * g.stride_y * g.stride_x * t.channels);
    const double piece = pixels * (n * (k + 8.0) + 4.0 * k) + lines * 2000.0 + 20000.0;
    return piece * static_cast<double>(divide_up(pieces, threads));
  }
};

class Col2imPlanarKernel : public PieceKernel {
 public:
  Col2imPlanarKernel(const Problem& p, const std::string& micro_kernel, const Constants& constants)
      : g_(lying(TransposedGeometry(p))), act_(*epilogue_activation(p)),
        gemm_(gemm_kernel(micro_kernel)), taps_(best_ukernel<TapsF32>(PW_KIND_TAPS_F32, act_.act)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), rows_(g_.rows()), columns_(g_.columns()),
        taps_y_(g_.rows().taps()), taps_x_(g_.columns().taps()),
        t_(LineCost{g_, rows_, columns_, p.threads, gemm_.columns}.tiling()) {
    chunk_ = divide_up(depth(), divide_up(depth(), kChunk));
    pack(constants[1].as<float>());
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, 1);
    place(p.threads);
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return weights_.bytes() + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    char* own = areas_.own<char>(workspace, team);
    team.each(g_.images * g_.groups * blocks() * t_.row_pieces * t_.column_pieces, 1,
              [&](int64_t index, int64_t) { piece(x, y, index, own); });
  }

 private:
  static constexpr int64_t kChunk = 256;  // of the depth at most

  // What a piece works on: outputs [first, first + channels) of a group, positions [p0, p1) x [q0, q1), inputs [left, right).
  struct Piece {
    int64_t image, group, first, channels, p0, p1, q0, q1, left, right;
  };

  int64_t depth() const { return g_.inputs / g_.groups; }
  int64_t outputs() const { return g_.outputs / g_.groups; }
  int64_t blocks() const { return divide_up(outputs(), t_.channels); }
  // Those that stay in half of L1.
  int64_t panels() const {
    const int64_t fit = static_cast<int64_t>(cpu().l1d) / 2 / 4 / (chunk_ * gemm_.columns);
    return std::clamp<int64_t>(fit, 1, divide_up(columns_.inputs(t_.n), gemm_.columns));
  }
  int64_t kernel() const { return g_.kernel_height * g_.kernel_width; }
  int64_t slots() const { return std::min(rows_.reach, g_.height - 1) + 1; }
  // Of a row of the product: positions, what lies before them within reach, what a vector may read behind them.
  int64_t pitch() const { return round_up(t_.n + columns_.reach + kTapsBlock, 16) + 16; }
  int64_t slot() const { return kernel() * t_.channels * pitch(); }
  int64_t phase() const { return round_up(t_.n + kTapsBlock, 16) + 16; }

  // Weights [C, O/groups, kh, kw] -> [O, kh * kw, C/groups].
  void pack(const float* w) {
    weights_ = Buffer(static_cast<size_t>(g_.outputs * kernel() * depth()) * 4);
    auto* to = weights_.as<float>();
    for (int64_t o = 0; o < g_.outputs; ++o)
      for (int64_t tap = 0; tap < kernel(); ++tap)
        for (int64_t c = 0; c < depth(); ++c)
          *to++ = w[((o / outputs() * depth() + c) * outputs() + o % outputs()) * kernel() + tap];
  }

  void place(int64_t threads) {
    int64_t at = 0;
    auto take = [&](int64_t bytes) {
      const int64_t here = at;
      at += round_up(bytes, 64);
      return here;
    };
    ring_at_ = take((slots() * slot() + kTapsBlock) * 4);
    input_at_ = take(panels() * chunk_ * gemm_.columns * 4);
    phases_at_ = take(g_.stride_x * phase() * 4);
    line_at_ = take(g_.stride_x * t_.n * 4);
    sources_at_ = take(kernel() * 8);
    ones_at_ = take(kernel() * 4);
    pointers_at_ = take(gemm_.rows * 8);
    areas_ = {at, threads};
  }

  void piece(const float* x, float* y, int64_t index, char* own) const {
    Piece c{};
    c.q0 = columns_.first + index % t_.column_pieces * t_.n, c.q1 = std::min(columns_.last, c.q0 + t_.n);
    index /= t_.column_pieces;
    c.p0 = rows_.first + index % t_.row_pieces * t_.m, c.p1 = std::min(rows_.last, c.p0 + t_.m);
    index /= t_.row_pieces;
    c.image = index % g_.images, index /= g_.images;
    c.group = index / blocks(), c.first = index % blocks() * t_.channels;
    c.channels = std::min(t_.channels, outputs() - c.first);
    std::tie(c.left, c.right) = columns_.inputs(c.q0, c.q1);
    if (c.right < c.left) c.right = c.left;
    auto* ring = reinterpret_cast<float*>(own + ring_at_);
    clear(c, ring);
    std::fill_n(reinterpret_cast<float*>(own + ones_at_), kernel(), 1.0f);
    int64_t next = std::max<int64_t>(0, c.p0 - rows_.reach);  // line of the input
    for (int64_t p = c.p0; p < c.p1; ++p) {
      for (; next <= p && next < g_.height; ++next)
        if (c.right > c.left) multiply(x, c, next, own);
      const int64_t top = std::max<int64_t>(0, p * g_.stride_y - g_.pad_top);
      const int64_t bottom = std::min(g_.out_height, (p + 1) * g_.stride_y - g_.pad_top);
      for (int64_t oy = top; oy < bottom; ++oy)
        for (int64_t o = 0; o < c.channels; ++o) line(c, oy, o, y, own);
    }
  }

  // The product of line iy of the input, in its slot of the ring: panel by panel, brought into L1 for all rows of weights.
  void multiply(const float* x, const Piece& c, int64_t iy, char* own) const {
    const int64_t n = c.right - c.left, all = c.channels * kernel(), tiles = divide_up(all, gemm_.rows);
    const float* from = x + ((c.image * g_.inputs + c.group * depth()) * g_.height + iy) * g_.width + c.left;
    auto* input = reinterpret_cast<float*>(own + input_at_);
    const auto** pointers = reinterpret_cast<const float**>(own + pointers_at_);
    const float* weights = weights_.as<float>() + (c.group * outputs() + c.first) * kernel() * depth();
    float* to = reinterpret_cast<float*>(own + ring_at_) + iy % slots() * slot() + c.left + columns_.reach - c.q0;
    const EvenParts parts(all, tiles);
    GemmF32Args args{};
    args.a = pointers;
    args.b = input;
    args.taps = 1;
    args.c_row = pitch();
    args.c_group = 16;
    args.act = kNoActivation;
    const int64_t wide = panels() * gemm_.columns;
    for (int64_t k = 0; k < depth(); k += chunk_) {
      args.depth = std::min(chunk_, depth() - k);
      args.b_panel = args.depth * gemm_.columns;
      args.first = k == 0;
      args.last = k + chunk_ >= depth();
      for (int64_t j = 0; j < n; j += wide) {
        args.columns = std::min(wide, n - j);
        bring(from + k * g_.height * g_.width + j, args.depth, args.columns, std::clamp<int64_t>(n - j - wide, 0, wide), input);
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const auto [first, count] = parts[tile];
          for (int64_t i = 0; i < gemm_.rows; ++i) pointers[i] = weights + (first + std::min(i, count - 1)) * depth() + k;
          args.c = to + first * pitch() + j;
          args.rows = count;
          gemm_.run(&args);
        }
      }
    }
  }

  // `rows` channels of n pixels to panels; the `ahead` pixels behind them come next.
  void bring(const float* from, int64_t rows, int64_t n, int64_t ahead, float* to) const {
    const int64_t panel = rows * gemm_.columns, plane = g_.height * g_.width;
    for (int64_t k = 0; k < rows; ++k, from += plane, to += gemm_.columns) {
      for (int64_t j = 0; j < ahead; j += 16) __builtin_prefetch(from + n + j);
      for (int64_t j = 0; j < n; j += gemm_.columns) {
        float* panels = to + j / gemm_.columns * panel;
        const int64_t count = std::min<int64_t>(gemm_.columns, n - j);
        int64_t i = 0;
        for (; i + 16 <= count; i += 16) std::memcpy(panels + i, from + j + i, 64);  // of a fixed size: no call
        for (; i < count; ++i) panels[i] = from[j + i];
        for (; i < gemm_.columns; ++i) panels[i] = 0.0f;
      }
    }
  }

  // What the sums read beside the products.
  void clear(const Piece& c, float* ring) const {
    const int64_t left = c.left + columns_.reach - c.q0, right = c.right + columns_.reach - c.q0;
    const int64_t end = c.q1 - c.q0 + columns_.reach;
    for (int64_t row = 0; row < slots() * kernel() * t_.channels; ++row, ring += pitch()) {
      std::fill(ring, ring + std::min(left, end), 0.0f);
      if (right < end) std::fill(ring + right, ring + end, 0.0f);
    }
  }

  // Line oy of output `o` of the piece.
  void line(const Piece& c, int64_t oy, int64_t o, float* y, char* own) const {
    const auto* ring = reinterpret_cast<const float*>(own + ring_at_) + o * kernel() * pitch();
    auto** sources = reinterpret_cast<const float**>(own + sources_at_);
    auto* phases = reinterpret_cast<float*>(own + phases_at_);
    const int64_t output = c.group * outputs() + c.first + o, n = c.q1 - c.q0, base = g_.rows().base(oy);
    const auto [first, last] = taps_of(taps_y_, g_.rows().rest(oy));
    TapsArgs args{sources, reinterpret_cast<const float*>(own + ones_at_), nullptr, 0, n, bias_.as<float>()[output], act_};
    for (int64_t x = 0; x < g_.stride_x; ++x) {
      args.count = 0;
      const auto [left, right] = taps_of(taps_x_, x);
      for (auto ky = first; ky != last; ++ky) {
        const int64_t iy = base - ky->distance;
        if (iy < 0 || iy >= g_.height) continue;
        const float* row = ring + iy % slots() * slot() + ky->k * g_.kernel_width * pitch() + columns_.reach;
        for (auto kx = left; kx != right; ++kx) sources[args.count++] = row + kx->k * pitch() - kx->distance;
      }
      args.y = phases + x * phase();
      taps_.run(&args);
    }
    y += ((c.image * g_.outputs + output) * g_.out_height + oy) * g_.out_width;
    interleave(transpose_, phases, phase(), g_.stride_x, n, c.q0 * g_.stride_x - g_.pad_left, g_.out_width,
               reinterpret_cast<float*>(own + line_at_), y);
  }

  TransposedGeometry g_;
  ActArgs act_;
  const GemmF32& gemm_;
  const TapsF32& taps_;
  const TransposeF32& transpose_;
  Positions rows_, columns_;
  std::vector<TransposedAxis::Tap> taps_y_, taps_x_;
  LineTiling t_;
  int64_t chunk_ = 0;  // of the depth, per pass
  int64_t ring_at_ = 0, input_at_ = 0, phases_at_ = 0, line_at_ = 0, sources_at_ = 0, ones_at_ = 0, pointers_at_ = 0;
  Buffer weights_, bias_;
  ThreadAreas areas_;
};

class Col2imPlanar : public ConvolutionRoutine, public Estimating {
 public:
  Col2imPlanar() : ConvolutionRoutine("conv_transpose2/col2im_planar:f32:nchw:cpu", Layout::nchw, Layout::nchw) {
    applying_ = PW_KIND_TAPS_F32;
  }
  Verdict suits(const Problem& p, const Geometry&) const override {
    if (gemm_variants(Layout::nhwc).empty()) return Verdict::no("no micro-kernel in this tier");
    if (p.epilogue.add) return Verdict::no("it adds no residual");
    const TransposedGeometry g = lying(TransposedGeometry(p));
    // Each phase of a line is a run of its own.
    if (g.stride_x > kWidestStride) return Verdict::no("the stride along x is above " + std::to_string(kWidestStride));
    if (Positions(g.columns()).reach > g.width + g.kernel_width || Positions(g.rows()).reach > g.height + g.kernel_height)
      return Verdict::no("taps lie farther apart than the image is large");
    return g.few_taps_outside();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    const TransposedGeometry g = lying(TransposedGeometry(p));
    return by_filling(gemm_variants(Layout::nhwc), g.outputs / g.groups * g.kernel_height * g.kernel_width, g.width);
  }
  // Before conv_transpose2/col2im where that would sum short runs.
  Ports ports(const Problem& p) const override {
    Ports ports = ConvolutionRoutine::ports(p);
    const TransposedGeometry g = lying(TransposedGeometry(p));
    const Positions rows(g.rows()), columns(g.columns());
    const LineCost lines{g, rows, columns, p.threads, gemm_kernel(variants(p).front()).columns};
    const TilingCost pixels{g, rows, columns, p.threads, 12, 16, true};
    const int64_t inputs = g.images * g.height * g.width * g.inputs;
    const double phases = static_cast<double>(inputs * g.kernel_height * g.kernel_width) *
                          static_cast<double>(round_up(g.outputs / g.groups, 16)) / static_cast<double>(p.threads);
    // What planes cost the others, whose outputs lie pixel by pixel.
    const int64_t outputs = g.outputs > 1 ? g.images * g.outputs * g.out_height * g.out_width : 0;
    const double planes = 48.0 * static_cast<double>(outputs) / static_cast<double>(p.threads);
    const bool better = g.groups < g.inputs && lines() < std::min(phases, pixels(best_tiling(pixels))) + planes;
    ports.order = better ? -2 : 2;
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.28);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<Col2imPlanarKernel>(p, variant, c);
  }

 private:
  static constexpr int64_t kWidestStride = 32;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Col2imPlanar>(); }
}  // namespace PW_COLLECT
}  // namespace pw
