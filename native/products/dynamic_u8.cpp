#include "products/dynamic_u8.h"

#include <cstring>

#include "products/estimates_u8.h"
#include "products/gemv.h"
#include "products/gemv_u8.h"
#include "products/matrix_u8.h"

namespace pw {

DynamicProblem::DynamicProblem(const Problem& p, const Constants& constants, int64_t depth, int64_t columns, size_t inner)
    : rows(p.in[0].count() / depth), depth(depth), columns(columns), weights(constants[1]),
      bias(p.arity() > 2 && p.has(2) ? constants[2].as<float>() : nullptr), act(*epilogue_activation(p)), add(p.epilogue.add),
      threads(p.threads), axes(RowAxes::of(p.in[0].shape, inner)) {}

Verdict accepts_dynamic(const Problem& p, int64_t depth) {
  if (depth > kMostTerms) return Verdict::no(std::to_string(depth) + " terms may not fit a sum of 32 bits");
  return applies(PW_KIND_DYNAMIC_U8, p.epilogue);
}

namespace {

// With this as the scale of the values, what sums begin with is the sum of a column of weights, and its scale that of the
// weights alone.
constexpr Scale kOwnScales{1.0f, -1};

// Two phases: rows become bytes, then they are multiplied.
class DynamicKernel : public Kernel {
 public:
  int64_t phases() const final { return 2; }
  bool open(size_t, size_t axis) const final { return p_.axes.open(axis); }
  size_t workspace_bytes() const final { return static_cast<size_t>(areas_at()) + areas_.total(); }

  int run(const Context& c) noexcept final {
    auto* own = static_cast<char*>(c.workspace);
    auto* bytes = reinterpret_cast<uint8_t*>(own);
    auto* scales = reinterpret_cast<RowScale*>(own + scales_at());
    char* area = areas_.own<char>(own + areas_at(), c.team);
    const auto* x = static_cast<const float*>(c.in[0]);
    const int64_t rows = p_.axes.rows(c.in_sizes[0]);
    if (c.team.phase == 0) {
      c.team.each(rows, divide_up(rows, 8 * c.team.count), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) scales[i] = narrow(x + i * p_.depth, bytes + i * row_bytes_, area);
      });
      return 0;
    }
    multiply({rows, bytes, scales, p_.add ? static_cast<const float*>(c.in[1]) : nullptr, static_cast<float*>(c.out[0])}, area,
             c.team);
    return 0;
  }

 protected:
  // `row_bytes`: from one row of bytes to the next; `area_bytes`: scratch memory of a thread.
  DynamicKernel(const DynamicProblem& problem, int64_t row_bytes) : p_(problem), row_bytes_(row_bytes) {}
  struct Rows {
    int64_t count;
    const uint8_t* bytes;
    const RowScale* scales;
    const float* residual;  // may be null
    float* y;
  };
  // A row of x as `multiply` reads it.
  virtual RowScale narrow(const float* x, uint8_t* to, char* area) const noexcept = 0;
  virtual void multiply(const Rows& rows, char* area, Team& team) const noexcept = 0;
  // Columns [first, first + n) of a row; the other pointers are to those of column `first`.
  void finish(const Rows& rows, int64_t row, int64_t first, int64_t n, const int32_t* sums, const int32_t* totals,
              const float* scale, const float* bias) const noexcept {
    const int64_t at = row * p_.columns + first;
    const RowEndF32Args end{sums, totals, scale, bias, rows.residual ? rows.residual + at : nullptr, rows.y + at, n,
                            rows.scales[row], p_.act};
    dynamic_.finish(&end);
  }

  DynamicProblem p_;
  int64_t row_bytes_;
  ThreadAreas areas_;
  const DynamicU8& dynamic_ = best_ukernel<DynamicU8>(PW_KIND_DYNAMIC_U8, p_.act.act);

 private:
  int64_t scales_at() const { return round_up(p_.rows * row_bytes_, 64); }
  int64_t areas_at() const { return scales_at() + round_up(p_.rows * static_cast<int64_t>(sizeof(RowScale)), 64); }
};

class DynamicGemm : public DynamicKernel {
 public:
  DynamicGemm(const DynamicProblem& p, const GemmU8& kernel)
      : DynamicKernel(p, 0), product_(kernel, p.rows, p.columns, 1, p.depth, p.columns, RequantU8{}, true, p.threads),
        weights_(p.weights, p.bias, 0, p.columns, p.depth, 1, product_, kOwnScales) {
    row_bytes_ = round_up(product_.words * 4, 64) + 64;  // see ProductU8::row_bytes
    run_ = std::max<int64_t>(1, kRunColumns / kernel.columns);
    starts_ = Buffer(static_cast<size_t>(run_ * kernel.columns) * 4);
    std::memset(starts_.as<char>(), 0, starts_.bytes());
    areas_ = {pointer_bytes() + round_up(std::max(kernel.rows * run_ * kernel.columns * 4, p.depth), 64), p.threads};
  }

  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    return weights_.from(product_.blocking.first_panel(index, count));
  }

 private:
  static constexpr int64_t kRunColumns = 96;  // whose sums stay in L1 until they are floats
  int64_t pointer_bytes() const { return round_up(product_.kernel->rows * 8, 64); }

  RowScale narrow(const float* x, uint8_t* to, char* area) const noexcept override {
    const GemmU8& kernel = *product_.kernel;
    if (kernel.group == 2) {
      auto* bytes = reinterpret_cast<uint8_t*>(area + pointer_bytes());
      const RowScale scale = dynamic_.quantise(x, p_.depth, bytes);
      kernel.stage(&bytes, 1, p_.depth, product_.words, to);
      return scale;
    }
    std::memset(to + p_.depth, 0, static_cast<size_t>(product_.words * 4 - p_.depth));
    return dynamic_.quantise(x, p_.depth, to);
  }

  void multiply(const Rows& rows, char* area, Team& team) const noexcept override {
    Blocking blocking = product_.blocking;
    const GemmU8& kernel = *product_.kernel;
    const int64_t row_tiles = divide_up(rows.count, kernel.rows);
    if (rows.count != product_.rows)
      blocking = block(row_tiles, product_.panels(), product_.words * kernel.columns * 4, kernel.rows * p_.depth, p_.threads);
    const EvenParts tiles(std::max<int64_t>(1, rows.count), std::max<int64_t>(1, row_tiles));
    const int64_t most = tiles.base + (tiles.longer > 0);
    team.each(rows.count ? blocking.count() : 0, 1, [&](int64_t index, int64_t) {
      if (kernel.open) kernel.open(most, product_.step);
      const int64_t first_tile = index % blocking.row_blocks * blocking.row_tiles;
      const int64_t first_panel = index / blocking.row_blocks * blocking.panels;
      for (int64_t i = first_tile; i < std::min(row_tiles, first_tile + blocking.row_tiles); ++i)
        tile(rows, tiles[i], most, first_panel, std::min(product_.panels(), first_panel + blocking.panels), area);
      if (kernel.close) kernel.close();
    });
  }

  void tile(const Rows& rows, EvenParts::Part part, int64_t most, int64_t first_panel, int64_t last_panel,
            char* area) const noexcept {
    const GemmU8& kernel = *product_.kernel;
    const auto [row, count] = part;
    auto** pointers = reinterpret_cast<const void**>(area);
    auto* sums = reinterpret_cast<int32_t*>(area + pointer_bytes());
    for (int64_t i = 0; i < kernel.rows; ++i) pointers[i] = rows.bytes + (row + std::min(i, count - 1)) * row_bytes_;
    GemmU8Args args{};
    args.a = pointers;
    args.start = starts_.as<int32_t>();
    args.sums = sums;
    args.taps = 1;
    args.words = product_.words;
    args.step = product_.step;
    args.rows = count;
    args.tile_rows = most;
    args.c_row = run_ * kernel.columns;
    for (int64_t panel = first_panel; panel < last_panel; panel += run_) {
      const int64_t first = panel * kernel.columns;
      args.b = weights_.panel(panel);
      args.columns = std::min(std::min(panel + run_, last_panel) * kernel.columns, p_.columns) - first;
      kernel.run(&args);
      for (int64_t i = 0; i < count; ++i)
        finish(rows, row + i, first, args.columns, sums + i * args.c_row, weights_.start(panel), weights_.scale(panel),
               weights_.bias(panel));
    }
  }

  ProductU8 product_;
  WeightsU8 weights_;
  int64_t run_;    // panels that are multiplied before their sums become floats
  Buffer starts_;  // zeros
};

class DynamicGemv : public DynamicKernel {
 public:
  DynamicGemv(const DynamicProblem& p, const GemvU8& kernel)
      : DynamicKernel(p, round_up(p.depth, 64)), kernel_(kernel), weights_(p.weights, p.bias, p.depth, p.columns, kOwnScales) {
    // Pieces large enough to stream, small enough to even out the threads.
    grain_ = std::min(kMostGrain, round_up(std::max<int64_t>(p.columns / (8 * p.threads), 1), kernel.rows));
  }

  size_t packed_bytes() const override { return weights_.bytes(); }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const auto piece = Team::own_first(divide_up(p_.columns, grain_), index, count);
    return piece ? weights_.from(*piece * grain_) : Memory{};
  }

 private:
  static constexpr int64_t kMostGrain = 64;

  RowScale narrow(const float* x, uint8_t* to, char*) const noexcept override { return dynamic_.quantise(x, p_.depth, to); }

  void multiply(const Rows& rows, char*, Team& team) const noexcept override {
    team.each(p_.columns, grain_, [&](int64_t first, int64_t last) {
      const int32_t start[kMostGrain] = {};
      int32_t sums[kMostGrain];
      for (int64_t row = 0; row < rows.count; ++row) {
        kernel_.run(weights_.row(first), p_.depth, rows.bytes + row * row_bytes_, p_.depth, last - first, start, sums);
        finish(rows, row, first, last - first, sums, weights_.start() + first, weights_.scale() + first,
               weights_.bias() + first);
      }
    });
  }

  const GemvU8& kernel_;
  GemvWeightsU8 weights_;
  int64_t grain_;
};

}  // namespace

Estimate dynamic_estimate(int64_t rows, int64_t depth, int64_t columns, const std::string& variant, bool gemv) {
  Estimate e = gemv ? gemv_u8_estimate(rows, depth, columns, ProductU8Sizes::End::sums)
                    : product_u8_estimate({.rows = rows, .depth = depth, .columns = columns}, variant);
  e.work += narrowed(rows, depth) + widened(rows * columns);
  e.phases = 2;
  return e;
}

std::vector<std::string> dynamic_gemm_variants() { return gemm_u8_variants(Act::clip); }
std::unique_ptr<Kernel> dynamic_gemm(const DynamicProblem& problem, const std::string& variant) {
  return std::make_unique<DynamicGemm>(problem, gemm_u8_kernel(variant));
}

std::vector<std::string> dynamic_gemv_variants() { return gemv_u8_variants(Act::clip); }
std::unique_ptr<Kernel> dynamic_gemv(const DynamicProblem& problem, const std::string& variant) {
  return std::make_unique<DynamicGemv>(problem, variant_ukernel<GemvU8>(PW_KIND_GEMV_U8, variant));
}

}  // namespace pw
