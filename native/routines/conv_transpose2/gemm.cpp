// conv_transpose2/gemm: each phase of the output is a product over the input where it lies; nothing is scattered.
#include "routines/conv_transpose2/geometry.h"
#include "spi/estimate.h"

namespace pw {
namespace {

struct GemmPhase : Phase {
  std::vector<std::shared_ptr<const Buffer>> weights{};  // per group
  Product product{};
  int64_t first_block = 0;  // in the count over all phases
};

class TransposedKernel : public PieceKernel {
 public:
  TransposedKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads), kernel_(gemm_kernel(variant)) {
    const float* bias = bias_of(p, constants);
    const int64_t outputs = g_.outputs / g_.groups;
    for (int64_t group = 0; group < g_.groups; ++group)
      bias_.push_back(pack_bias(bias ? bias + group * outputs : nullptr, outputs, kernel_.columns));
    for (Phase& shape : g_.phases()) {
      GemmPhase phase{std::move(shape)};
      finish(phase, p);
      pack(phase, constants[1], std::to_string(phase.first_y) + "," + std::to_string(phase.first_x), p);
      most_taps_ = std::max(most_taps_, phase.product.taps);
      blocks_ += g_.groups * phase.product.blocking.count();
      phases_.push_back(std::move(phase));
    }
    zeros_ = zero_row(g_.inputs / g_.groups);
  }

  size_t workspace_bytes() const override { return areas().total(); }
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const GemmPhase& phase : phases_) bytes += bytes_of(phase.weights);
    return bytes;
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    const Scratch scratch(areas().own<char>(workspace, team), *this);
    team.each(blocks_, 1, [&](int64_t index, int64_t) {
      size_t f = phases_.size() - 1;
      while (index < phases_[f].first_block) --f;
      const GemmPhase& phase = phases_[f];
      const int64_t block = index - phase.first_block, blocks = phase.product.blocking.count();
      run_block(phase, block / blocks, block % blocks, x, residual, y, scratch);
    });
  }

 private:
  static constexpr int64_t kMostRows = 32;  // of a micro-kernel's tile

  // One thread's part of the workspace.
  struct Scratch {
    float *c, *residual;    // a tile each
    const float** pointers;
    Scratch(char* memory, const TransposedKernel& k)
        : c(reinterpret_cast<float*>(memory)),
          residual(c + k.tile()),
          pointers(reinterpret_cast<const float**>(memory + 2 * k.tile() * 4)) {}
  };

  int64_t tile() const { return round_up(kernel_.rows * kernel_.columns, 16); }
  ThreadAreas areas() const { return {2 * tile() * 4 + round_up(most_taps_ * kernel_.rows * 8, 64), threads_}; }

  void finish(GemmPhase& phase, const Problem& p) {
    Product& product = phase.product;
    product.kernel = &kernel_;
    product.act = *epilogue_activation(p);
    product.rows = g_.images * phase.height * phase.width;
    product.columns = g_.outputs / g_.groups;
    product.taps = static_cast<int64_t>(phase.taps.size());
    product.depth = g_.inputs / g_.groups;
    // As many taps per pass as keep a tile of the input in half of L1.
    const int64_t k = product.taps * product.depth, fit = static_cast<int64_t>(cpu().l1d) / 2 / 4 / kernel_.rows;
    const int64_t passes = std::max<int64_t>(1, divide_up(k, std::max(fit, product.depth)));
    product.chunk = std::max<int64_t>(1, divide_up(product.taps, passes)) * product.depth;
    product.blocking = block(product.row_tiles(), product.panels(), product.chunk * kernel_.columns * 4,
                             kernel_.rows * k * 4, static_cast<int>(threads_));
    phase.first_block = blocks_;
  }

  // Weights [C, O/groups, kh, kw]; rows of the packed matrix in the order (tap of the phase, channel).
  void pack(GemmPhase& phase, const Constant& constant, const std::string& name, const Problem& p) const {
    const auto* w = constant.as<float>();
    const int64_t inputs = phase.product.depth, outputs = phase.product.columns;
    const int64_t all = g_.kernel_height * g_.kernel_width;
    const auto& taps = phase.taps;
    for (int64_t group = 0; group < g_.groups; ++group) {
      std::string key = "conv_transpose2/" + name + "/" + std::to_string(group);
      for (const char* attribute : {"stride", "pad", "dilation", "groups"}) key += "/" + std::string(p.word(attribute));
      for (int64_t d : p.in[1].shape) key += "/" + std::to_string(d);
      phase.weights.push_back(pack_panels(
          constant.id, key, phase.product.taps * inputs, outputs, kernel_.columns, [&](int64_t row, int64_t column) {
            const int64_t channel = group * inputs + row % inputs;
            return w[(channel * outputs + column) * all + taps[static_cast<size_t>(row / inputs)].index];
          }));
    }
  }

  void run_block(const GemmPhase& phase, int64_t group, int64_t index, const float* x, const float* residual, float* y,
                 const Scratch& scratch) const {
    const Product& p = phase.product;
    const Blocking& b = p.blocking;
    const int64_t row_block = index % b.row_blocks, panel_block = index / b.row_blocks;
    const int64_t last_tile = std::min(p.row_tiles(), (row_block + 1) * b.row_tiles);
    const int64_t last_panel = std::min(p.panels(), (panel_block + 1) * b.panels);
    const int64_t taps_per_pass = p.chunk / p.depth;
    const float* source = x + group * p.depth;
    const EvenParts tiles = p.tiles();
    int64_t tap = 0;
    do {  // once even where no tap reaches the phase: bias and epilogue remain
      GemmF32Args args{};
      args.taps = std::min(taps_per_pass, p.taps - tap);
      args.depth = p.depth;
      args.act = p.act;
      args.first = tap == 0;
      args.last = tap + taps_per_pass >= p.taps;
      for (int64_t tile = row_block * b.row_tiles; tile < last_tile; ++tile) {
        const auto [row, rows] = tiles[tile];
        int64_t offsets[kMostRows];
        args.rows = rows;
        args.a = scratch.pointers;
        point(phase, tap, args.taps, source, row, args.rows, scratch.pointers, offsets);
        for (int64_t panel = panel_block * b.panels; panel < last_panel; ++panel) {
          const int64_t column = panel * kernel_.columns, at = group * p.columns + column;
          args.b = phase.weights[static_cast<size_t>(group)]->as<float>() +
                   (panel * p.taps + tap) * p.depth * kernel_.columns;
          args.bias = bias_[static_cast<size_t>(group)].as<float>() + column;
          args.columns = std::min<int64_t>(kernel_.columns, p.columns - column);
          multiply(args, offsets, y + at, residual ? residual + at : nullptr, scratch);
        }
      }
      tap += taps_per_pass;
    } while (tap < p.taps);
  }

  // Pointers to the input pixels of taps [first_tap, first_tap + taps) for `valid` outputs of the phase, and where
  // those outputs lie.
  void point(const Phase& phase, int64_t first_tap, int64_t taps, const float* x, int64_t row, int64_t valid,
             const float** to, int64_t* offsets) const {
    for (int64_t i = 0; i < kernel_.rows; ++i) {
      const int64_t at = row + std::min(i, valid - 1), line = at / phase.width, column = at % phase.width;
      const int64_t image = line / phase.height, oy = line % phase.height;
      offsets[i] = ((image * g_.out_height + phase.first_y + oy * g_.stride_y) * g_.out_width + phase.first_x +
                    column * g_.stride_x) * g_.outputs;
      const float* base = x + image * g_.height * g_.width * g_.inputs;
      for (int64_t t = 0; t < taps; ++t) {
        const Tap& tap = phase.taps[static_cast<size_t>(first_tap + t)];
        const int64_t iy = phase.base_y + oy - tap.y, ix = phase.base_x + column - tap.x;
        const bool inside = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        to[t * kernel_.rows + i] = inside ? base + (iy * g_.width + ix) * g_.inputs : zeros_;
      }
    }
  }

  // One tile; rows of y that are not evenly spaced, where the tile crosses the end of an image row, go through scratch.
  void multiply(GemmF32Args args, const int64_t* offsets, float* y, const float* residual,
                const Scratch& scratch) const {
    const int64_t step = args.rows > 1 ? offsets[1] - offsets[0] : 0;
    bool even = true;
    for (int64_t i = 2; i < args.rows; ++i) even = even && offsets[i] - offsets[i - 1] == step;
    args.c_group = 16;
    if (even) {
      args.c = y + offsets[0];
      args.residual = residual ? residual + offsets[0] : nullptr;
      args.c_row = step;
      kernel_.run(&args);
      return;
    }
    const int64_t tile_columns = kernel_.columns;
    auto gather = [&](const float* from, float* to) {
      for (int64_t i = 0; i < args.rows; ++i)
        for (int64_t j = 0; j < args.columns; ++j) to[i * tile_columns + j] = from[offsets[i] + j];
    };
    if (!args.first) gather(y, scratch.c);
    if (args.last && residual) gather(residual, scratch.residual);
    args.c = scratch.c;
    args.residual = args.last && residual ? scratch.residual : nullptr;
    args.c_row = tile_columns;
    kernel_.run(&args);
    for (int64_t i = 0; i < args.rows; ++i)
      for (int64_t j = 0; j < args.columns; ++j) y[offsets[i] + j] = scratch.c[i * tile_columns + j];
  }

  TransposedGeometry g_;
  bool add_;
  int64_t threads_;
  const GemmF32& kernel_;
  std::vector<GemmPhase> phases_;
  std::vector<Buffer> bias_;  // per group
  int64_t most_taps_ = 0, blocks_ = 0;
  const float* zeros_ = nullptr;
};

class Transposed : public ConvolutionRoutine, public Estimating {
 public:
  Transposed() : ConvolutionRoutine("conv_transpose2/gemm:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc) {}
  Verdict suits(const Problem& p, const Geometry&) const override {
    if (gemm_variants(Layout::nhwc, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    const TransposedGeometry g(p);
    if (Verdict v = g.few_taps_outside(); !v) return v;
    return g.few_phases();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::nhwc, epilogue_act(p)); }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.34);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<TransposedKernel>(p, variant, c);
  }

};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Transposed>(); }
}  // namespace PW_COLLECT
}  // namespace pw
