// Convolutions over three axes, and over two with weights that are values, as products of matrices: rows of the input are read
// where they lie, or are first copied side by side, and weights are packed when the kernel is prepared or in the run.
#include "products/estimates.h"
#include "products/space.h"
#include "values/operands.h"

namespace pw {
namespace {

constexpr const char* kCopied = "/copied";

// One phase as a product: its rows are outputs, in the order of PhaseWalk.
struct PhaseProduct {
  Phase phase;
  Product product{};
  int64_t first_piece = 0;         // among the pieces of all phases
  int64_t packed = 0;              // floats in front of its panels where these lie in the workspace
  int64_t panel_floats = 0;
  std::shared_ptr<const Buffer> weights;  // panels of all groups
};

class GatheredKernel : public Kernel {
 public:
  GatheredKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), operands_(p, constants), residual_(p.residual()), copied_(variant.ends_with(kCopied)),
        packs_(!p.in[1].constant || (p.has(2) && p.arity() > 2 && !p.in[2].constant)), has_bias_(p.arity() > 2 && p.has(2)) {
    kernel_ = &gemm_kernel(variant.substr(0, variant.find('/')));
    panels_ = divide_up(g_.group_outputs(), kernel_->columns);
    const ActArgs act = *epilogue_activation(p);
    for (Phase& phase : phases_of(g_)) {
      PhaseProduct one;
      one.phase = std::move(phase);
      size(one, act, p.threads);
      one.first_piece = pieces_;
      pieces_ += g_.groups * one.product.blocking.count();
      one.panel_floats = one.phase.taps * g_.group_inputs() * kernel_->columns;
      one.packed = packed_floats_;
      packed_floats_ += g_.groups * panels_ * one.panel_floats;
      most_rows_ = std::max(most_rows_, one.phase.taps * g_.group_inputs());
      most_taps_ = std::max(most_taps_, copied_ ? 1 : one.phase.taps);
      most_columns_ = std::max(most_columns_, one.product.blocking.panels * kernel_->columns);
      products_.push_back(std::move(one));
    }
    scattered_ = products_.size() > 1;
    if (!packs_) {
      const auto* w = constants[1].as<float>();
      for (size_t i = 0; i < products_.size(); ++i) pack_constant(products_[i], i, constants[1].id, w);
      packed_floats_ = 0;
      const float* bias = has_bias_ ? constants[2].as<float>() : nullptr;
      bias_ = Buffer(static_cast<size_t>(bias_floats()) * 4);
      for (int64_t i = 0; i < g_.groups; ++i) pack_bias_of(bias, i, bias_.as<float>());
    }
    zeros_ = zero_row(g_.group_inputs());
    areas_ = {pointer_bytes() + copy_bytes() + scatter_bytes(), p.threads};
  }

  int64_t phases() const override { return packs_ ? 2 : 1; }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(packs_ ? round_up(packed_floats_ + bias_floats(), 16) : 0) * 4 + areas_.total();
  }
  size_t packed_bytes() const override {
    size_t bytes = bias_.bytes();
    for (const auto& one : products_) bytes += one.weights ? one.weights->bytes() : 0;
    return bytes;
  }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    if (packs_ || scattered_) return {};
    const PhaseProduct& one = products_[0];
    const auto piece = Team::own_first(pieces_, index, count);
    if (!piece) return {};
    const int64_t blocks = one.product.blocking.count(), group = *piece / blocks;
    const int64_t panel = group * panels_ + one.product.blocking.first_panel(*piece % blocks);
    return {one.weights->as<float>() + panel * one.panel_floats,
            static_cast<uint64_t>((g_.groups * panels_ - panel) * one.panel_floats) * 4};
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = operands_.get<float>(0, in);
    const auto* residual = operands_.get<float>(residual_, in);
    auto* y = static_cast<float*>(out[0]);
    auto* packed = static_cast<float*>(workspace);
    float* packed_bias = packed + packed_floats_;
    if (packs_ && team.phase == 0) return pack_all(operands_.get<float>(1, in), has_bias_ ? operands_.get<float>(2, in) : nullptr,
                                                   packed, packed_bias, team);
    auto* area = packs_ ? packed + round_up(packed_floats_ + bias_floats(), 16) : packed;
    auto** pointers = areas_.own<const float*>(area, team);
    auto* copies = reinterpret_cast<float*>(reinterpret_cast<char*>(pointers) + pointer_bytes());
    auto* tile = reinterpret_cast<float*>(reinterpret_cast<char*>(copies) + copy_bytes());
    const float* bias = packs_ ? packed_bias : bias_.as<float>();
    team.each(pieces_, 1, [&](int64_t piece, int64_t) {
      size_t i = products_.size() - 1;
      while (products_[i].first_piece > piece) --i;
      const PhaseProduct& one = products_[i];
      const int64_t blocks = one.product.blocking.count(), inside = piece - one.first_piece, group = inside / blocks;
      Product p = one.product;
      p.b = (packs_ ? packed + one.packed : one.weights->as<float>()) + group * panels_ * one.panel_floats;
      p.bias = bias + group * panels_ * kernel_->columns;
      const float* source = x + group * g_.group_inputs();
      const auto fill = [&](int64_t row, int64_t rows, const float** to) {
        if (copied_) copy_rows(source, one.phase, row, rows, to, copies);
        else point_rows(source, one.phase, row, rows, to);
      };
      if (!scattered_) {
        const int64_t at = group * g_.group_outputs();
        walk_block(p, inside % blocks, y + at, residual ? residual + at : nullptr, pointers, fill);
      } else {
        scatter_block(p, one.phase, inside % blocks, group, y, pointers, tile, fill);
      }
    });
  }

 private:
  int64_t pointer_bytes() const { return round_up(most_taps_ * kernel_->rows * 8, 64); }
  int64_t copy_bytes() const { return copied_ ? round_up(most_rows_ * kernel_->rows * 4, 64) : 0; }
  int64_t scatter_bytes() const { return scattered_ ? round_up(most_columns_ * kernel_->rows * 4, 64) : 0; }
  int64_t bias_floats() const { return g_.groups * panels_ * kernel_->columns; }

  void size(PhaseProduct& one, const ActArgs& act, int threads) const {
    Product& p = one.product;
    p.kernel = kernel_;
    p.act = act;
    p.rows = g_.images * one.phase.pixels;
    p.columns = g_.group_outputs();
    p.taps = copied_ ? 1 : one.phase.taps;
    p.depth = copied_ ? one.phase.taps * g_.group_inputs() : g_.group_inputs();
    p.c_row = g_.outputs;
    p.c_group = 16;
    const int64_t k = p.taps * p.depth;
    p.chunk = k;
    if (p.taps > 1) {  // a tile of A in half of L1
      const int64_t fit = static_cast<int64_t>(cpu().l1d) / 2 / 4 / kernel_->rows;
      const int64_t passes = divide_up(k, std::max(fit, p.depth));
      p.chunk = divide_up(divide_up(k, passes), p.depth) * p.depth;
    }
    p.blocking = block(p.row_tiles(), p.panels(), p.chunk * kernel_->columns * 4, kernel_->rows * k * 4, threads);
  }

  // Panel `panel` of a group: rows in the order (tap of the phase, channel), zeros past the last output.
  void pack_panel(const float* w, const Phase& phase, int64_t group, int64_t panel, float* to) const {
    const int64_t tile = kernel_->columns, first = panel * tile, inputs = g_.group_inputs();
    const int64_t width = std::min(tile, g_.group_outputs() - first);
    const int64_t step = g_.weight(0, 0, std::min<int64_t>(1, inputs - 1), 0);
    for (int64_t c = 0; c < tile; ++c)
      for (int64_t t = 0; t < phase.taps; ++t) {
        const int64_t tap = phase.tap[static_cast<size_t>(t)];
        float* column = to + t * inputs * tile + c;
        if (c >= width || tap < 0) {
          for (int64_t i = 0; i < inputs; ++i) column[i * tile] = 0;
        } else {
          const float* from = w + g_.weight(group, first + c, 0, tap);
          for (int64_t i = 0; i < inputs; ++i) column[i * tile] = from[i * step];
        }
      }
  }

  void pack_constant(PhaseProduct& one, size_t number, uint64_t id, const float* w) const {
    const size_t bytes = static_cast<size_t>(g_.groups * panels_ * one.panel_floats) * 4;
    const std::string key = g_.text() + "/" + std::to_string(number) + "/" + std::to_string(kernel_->columns);
    one.weights = shared_packing(id, key, [&] {
      Buffer packed(bytes);
      float* to = packed.as<float>();
      parallel_for(g_.groups * panels_, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) pack_panel(w, one.phase, i / panels_, i % panels_, to + i * one.panel_floats);
      });
      return packed;
    }, bytes);
  }

  void pack_bias_of(const float* bias, int64_t group, float* to) const {
    const int64_t padded = panels_ * kernel_->columns;
    for (int64_t i = 0; i < padded; ++i)
      to[group * padded + i] = bias && i < g_.group_outputs() ? bias[group * g_.group_outputs() + i] : 0.0f;
  }

  void pack_all(const float* w, const float* bias, float* packed, float* packed_bias, Team& team) const noexcept {
    const int64_t each = g_.groups * panels_, all = each * static_cast<int64_t>(products_.size());
    team.each(all, std::max<int64_t>(1, all / (8 * team.count)), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const PhaseProduct& one = products_[static_cast<size_t>(i / each)];
        const int64_t panel = i % each;
        pack_panel(w, one.phase, panel / panels_, panel % panels_, packed + one.packed + panel * one.panel_floats);
        if (i < each && panel % panels_ == 0) pack_bias_of(bias, panel / panels_, packed_bias);
      }
    });
  }

  void point_rows(const float* x, const Phase& phase, int64_t row, int64_t rows, const float** to) const {
    const int64_t tile_rows = kernel_->rows, image = g_.in_pixels() * g_.inputs;
    PhaseWalk walk(g_, phase, row);
    for (int64_t i = 0; i < rows; ++i, walk.next()) {
      const float* from = x + walk.image() * image;
      walk.each_tap([&](int64_t t, int64_t pixel) { to[t * tile_rows + i] = pixel < 0 ? zeros_ : from + pixel * g_.inputs; });
    }
    for (int64_t t = 0; t < phase.taps; ++t)
      for (int64_t i = rows; i < tile_rows; ++i) to[t * tile_rows + i] = to[t * tile_rows + rows - 1];
  }

  void copy_rows(const float* x, const Phase& phase, int64_t row, int64_t rows, const float** to, float* copies) const {
    const int64_t inputs = g_.group_inputs(), depth = phase.taps * inputs, image = g_.in_pixels() * g_.inputs;
    PhaseWalk walk(g_, phase, row);
    for (int64_t i = 0; i < rows; ++i, walk.next()) {
      const float* from = x + walk.image() * image;
      float* copy = copies + i * depth;
      walk.each_tap([&](int64_t t, int64_t pixel) {
        float* at = copy + t * inputs;
        if (pixel < 0) for (int64_t c = 0; c < inputs; ++c) at[c] = 0;
        else for (int64_t c = 0; c < inputs; ++c) at[c] = from[pixel * g_.inputs + c];
      });
    }
    for (int64_t i = 0; i < kernel_->rows; ++i) to[i] = copies + std::min(i, rows - 1) * depth;
  }

  // A block whose outputs do not lie one behind the other: tiles are made apart and put to their places.
  template <class Fill>
  void scatter_block(const Product& p, const Phase& phase, int64_t index, int64_t group, float* y, const float** pointers,
                     float* tile, Fill&& fill) const {
    const int64_t row_block = index % p.blocking.row_blocks, first_panel = p.blocking.first_panel(index);
    const int64_t last_panel = std::min(p.panels(), first_panel + p.blocking.panels);
    const int64_t first_tile = row_block * p.blocking.row_tiles;
    const int64_t last_tile = std::min(p.row_tiles(), first_tile + p.blocking.row_tiles);
    const int64_t first_column = first_panel * kernel_->columns;
    const EvenParts tiles = p.tiles();
    GemmF32Args args{};
    args.a = pointers;
    args.b = p.b + first_panel * p.taps * p.depth * kernel_->columns;
    args.b_panel = p.taps * p.depth * kernel_->columns;
    args.c = tile;
    args.bias = p.bias + first_column;
    args.taps = p.taps;
    args.depth = p.depth;
    args.columns = std::min(last_panel * kernel_->columns, p.columns) - first_column;
    args.c_row = args.columns;
    args.c_group = 16;
    args.act = p.act;
    args.first = args.last = true;
    for (int64_t t = first_tile; t < last_tile; ++t) {
      const auto [row, rows] = tiles[t];
      fill(row, rows, pointers);
      args.rows = rows;
      p.kernel->run(&args);
      PhaseWalk walk(g_, phase, row);
      for (int64_t i = 0; i < rows; ++i, walk.next()) {
        float* to = y + walk.pixel() * g_.outputs + group * g_.group_outputs() + first_column;
        std::copy_n(tile + i * args.columns, args.columns, to);
      }
    }
  }

  SpaceGeometry g_;
  Operands operands_;
  int residual_;
  bool copied_, packs_, has_bias_, scattered_ = false;
  const GemmF32* kernel_;
  int64_t panels_ = 0, pieces_ = 0, packed_floats_ = 0;
  int64_t most_rows_ = 0, most_taps_ = 0, most_columns_ = 0;
  std::vector<PhaseProduct> products_;
  Buffer bias_;  // of all groups, each padded to whole panels
  const float* zeros_;
  ThreadAreas areas_;
};

class Gathered : public Routine, public Estimating {
 public:
  Gathered(const std::string& layer, bool of_values)
      : Routine({.id = layer + (of_values ? "/of_values:f32:nhwc:cpu" : "/gathered:f32:ndhwc:cpu"), .takes_epilogue = true}),
        of_values_(of_values) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_space(p, PW_KIND_GEMM_F32); !v) return v;
    if (of_values_ && p.in[1].constant && (p.arity() < 3 || !p.has(2) || p.in[2].constant))
      return Verdict::no("weights and bias are constants, for which there are other routines");
    if (p.epilogue.add && p.kind.starts_with("conv_transpose")) return Verdict::no("it adds no residual");
    if (gemm_variants(Layout::nhwc, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names = gemm_variants(Layout::nhwc, epilogue_act(p));
    const size_t kernels = names.size();
    const SpaceGeometry g(p);
    // Taps of few channels are worth copying together, so that these come first.
    for (size_t i = 0; g.taps() > 1 && i < kernels; ++i) names.push_back(names[i] + kCopied);
    if (g.taps() > 1 && g.group_inputs() < 8) std::rotate(names.begin(), names.begin() + static_cast<ptrdiff_t>(kernels), names.end());
    return names;
  }
  Ports ports(const Problem& p) const override { return space_ports(p); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const SpaceGeometry g(p);
    const bool copied = variant.ends_with(kCopied);
    double made = 1;
    for (int a = 0; a < kSpace; ++a) made *= g.transposed ? static_cast<double>(g.stride[a]) : 1;
    const double phases = std::min(made, static_cast<double>(g.out_pixels()));
    const double taps = std::max(1.0, static_cast<double>(g.taps()) / phases), rows = static_cast<double>(g.images * g.out_pixels());
    const auto inputs = static_cast<double>(g.group_inputs()), groups = static_cast<double>(g.groups);
    Estimate e = product_estimate({.rows = rows / phases,
                                   .depth = inputs * taps,
                                   .columns = static_cast<double>(g.group_outputs()),
                                   .taps = copied ? 1 : taps,
                                   .count = groups * phases,
                                   .looked_up = true},
                                  variant);
    e.work += e.operations / (2 * inputs * taps) * activation_work(p);  // the padding of tiles included
    if (copied) e.work += groups * rows * taps * (kTapWork + kCopyWork * inputs);
    if (phases > 1) e.work += rows * static_cast<double>(g.outputs) * kCopyWork;
    e.pieces = std::max(e.pieces, groups * phases);
    if (!p.in[1].constant) e.phases = 2;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<GatheredKernel>(p, variant, c);
  }

 private:
  static constexpr double kTapWork = 60, kCopyWork = 20;  // operations that a tap and an element of it take to be copied
  bool of_values_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"conv3", "conv_transpose3"}) c.add<Gathered>(layer, false);
  for (const char* layer : {"conv2", "conv_transpose2", "depthwise_conv2"}) c.add<Gathered>(layer, true);
}
}  // namespace PW_COLLECT

}  // namespace pw
