// conv2/winograd4 on u8: F(4 x 4, 3 x 3) in integers. A quarter of the multiplications, and every sum is exactly that of
// the convolution: ukernels/kinds/winograd_u8.h has the points and the proof.
#include <cstring>

#include "products/estimates_u8.h"
#include "products/geometry_u8.h"
#include "products/matrix_u8.h"
#include "routines/conv2/winograd.h"
#include "ukernels/kinds/winograd_u8.h"

namespace pw {
namespace {

constexpr int64_t kOutputs = 4, kAlpha = 6, kMatrices = kAlpha * kAlpha;

// Gemm micro-kernels of the best tier that multiplies 16 bits.
std::vector<std::string> wide_gemms() {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<GemmU8>(PW_KIND_GEMM_U8)) {
    if (body->group != 2) continue;
    const std::string tier = name.substr(name.find("__"));
    if (names.empty() || names.front().ends_with(tier)) names.push_back(name);
  }
  return names;
}

// U[p] = (G w G^T)[p] of the quantised weights, a packed matrix inputs x outputs for each position; behind them the
// scale and the sum of each output's weights.
Buffer transform_weights(const float* w, int64_t outputs, int64_t inputs, const GemmU8& gemm) {
  const int64_t tile = gemm.columns, panels = divide_up(outputs, tile), padded = panels * tile;
  const int64_t words = divide_up(inputs, 2), matrix = panels * words * tile * 2;
  Buffer packed(static_cast<size_t>(kMatrices * matrix * 2 + padded * 8));
  std::memset(packed.as<char>(), 0, packed.bytes());
  int16_t* to = packed.as<int16_t>();
  float* scales = reinterpret_cast<float*>(to + kMatrices * matrix);
  int32_t* sums = reinterpret_cast<int32_t*>(scales + padded);
  parallel_for(outputs, [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      const float* source = w + o * inputs * 9;
      scales[o] = product_scale(inputs * 9, [&](int64_t k) { return source[k % inputs * 9 + k / inputs]; });
      for (int64_t c = 0; c < inputs; ++c) {
        int64_t k[3][3], half[kAlpha][3];
        for (int64_t t = 0; t < 9; ++t) {
          k[t / 3][t % 3] = quantised_weight(source[c * 9 + t], scales[o]);
          sums[o] += static_cast<int32_t>(k[t / 3][t % 3]);
        }
        const auto& g = kWinogradG;
        for (int64_t r = 0; r < kAlpha; ++r)
          for (int64_t x = 0; x < 3; ++x) half[r][x] = g[r][0] * k[0][x] + g[r][1] * k[1][x] + g[r][2] * k[2][x];
        const int64_t at = ((o / tile * words + c / 2) * tile + o % tile) * 2 + c % 2;
        for (int64_t r = 0; r < kAlpha; ++r)
          for (int64_t s = 0; s < kAlpha; ++s)
            to[(r * kAlpha + s) * matrix + at] =
                static_cast<int16_t>(g[s][0] * half[r][0] + g[s][1] * half[r][1] + g[s][2] * half[r][2]);
      }
    }
  });
  return packed;
}

// VARIANT: see WinogradTiles.
class WinogradU8Kernel : public Kernel {
 public:
  WinogradU8Kernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads), out_(requantise(p, constants)),
        gemm_(gemm_u8_kernel(variant.substr(0, variant.find('/')))),
        transforms_(best_ukernel<WinogradU8>(PW_KIND_WINOGRAD_U8, out_.act.act)),
        tiles_(g_, kOutputs, variant, gemm_.rows), words_(divide_up(g_.inputs, 2)),
        padded_(round_up(g_.outputs, gemm_.columns)) {
    weights_ = shared_packing(constants[1].id, "winograd4_u8/" + std::to_string(gemm_.columns), [&] {
      return transform_weights(constants[1].as<float>(), g_.outputs, g_.inputs, gemm_);
    });
    pack_factors(bias_of(p, constants), scale_in(constants, 0));
  }

  int64_t phases() const override { return tiles_.phases(); }
  size_t workspace_bytes() const override { return areas().total(); }
  size_t packed_bytes() const override { return weights_->bytes() + factors_.bytes() + outside_.bytes(); }
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const override {
    const auto bytes = static_cast<uint64_t>(kMatrices * padded_ * words_ * 4);
    return tiles_.reads_first(phase, index, count, padded_ / gemm_.columns, {weights_->as<char>(), bytes});
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const uint8_t*>(in[0]);
    const auto* residual = add_ ? static_cast<const uint8_t*>(in[1]) : nullptr;
    auto* y = static_cast<uint8_t*>(out[0]);
    auto* v = tiles_.team() ? static_cast<int16_t*>(workspace) : areas().own<int16_t>(workspace, team);
    auto* products = reinterpret_cast<int32_t*>(v + kMatrices * v_stride());
    tiles_.run(
        team, padded_ / gemm_.columns,
        [&](int64_t tile, int64_t slot) { input_tile(x, tile, v + slot * words_ * 2); },
        [&](int64_t p, int64_t first, int64_t last, int64_t n) { multiply(p, first, last, v, products, n); },
        [&](int64_t tile, int64_t slot) { output_tile(products + slot * padded_, tile, y, residual); });
  }

 private:
  // Elements between positions of V and of the products: a cache line more than the matrix takes, or at a multiple of
  // 4 KiB all positions of a tile would fall into the same set of L1.
  int64_t v_stride() const { return round_up(tiles_.chunk() * words_ * 2, 32) + 32; }
  int64_t product_stride() const { return round_up(tiles_.chunk() * padded_, 16) + 16; }
  ThreadAreas areas() const {
    return {kMatrices * (v_stride() * 2 + product_stride() * 4), tiles_.team() ? 1 : threads_};
  }

  void pack_factors(const float* bias, Scale in) {
    const int64_t matrix = padded_ * words_ * 2;
    const float* scales = reinterpret_cast<const float*>(weights_->as<int16_t>() + kMatrices * matrix);
    const int32_t* sums = reinterpret_cast<const int32_t*>(scales + padded_);
    // start, scale, bias, and what the sums of the products begin with: nothing.
    factors_ = Buffer(static_cast<size_t>(padded_ * 16));
    std::memset(factors_.as<char>(), 0, factors_.bytes());
    for (int64_t c = 0; c < padded_; ++c) {
      factors_.as<int32_t>()[c] = (128 - in.zero) * sums[c];
      factors_.as<float>()[padded_ + c] = in.scale * scales[c];
      factors_.as<float>()[2 * padded_ + c] = bias && c < g_.outputs ? bias[c] : 0.0f;
    }
    outside_ = Buffer(static_cast<size_t>(g_.inputs));
    std::memset(outside_.as<char>(), in.zero, outside_.bytes());
  }

  void input_tile(const uint8_t* x, int64_t tile, int16_t* v) const {
    const uint8_t* pixels[kMatrices];
    tiles_.pixels(x, tile, outside_.as<const uint8_t>(), pixels);
    const WinogradU8InputArgs args{pixels, v, v_stride(), g_.inputs};
    transforms_.input(&args);
    // An odd last channel has a neighbour in its word, whose weights are 0.
    if (g_.inputs % 2)
      for (int64_t p = 0; p < kMatrices; ++p) v[p * v_stride() + g_.inputs] = 0;
  }

  // Panels [first, last) of the product at position p for `tiles` tiles.
  void multiply(int64_t p, int64_t first, int64_t last, const int16_t* v, int32_t* products, int64_t tiles) const {
    const int16_t* a = v + p * v_stride();
    int32_t* c = products + p * product_stride();
    const int16_t* b = weights_->as<int16_t>() + p * padded_ * words_ * 2;
    const RowTiles<const void*> rows(tiles, gemm_.rows, [&](int64_t i) { return a + i * words_ * 2; });
    GemmU8Args args{};
    args.start = factors_.as<int32_t>() + 3 * padded_;
    args.taps = 1;
    args.words = words_;
    args.columns = gemm_.columns;
    args.c_row = padded_;
    for (int64_t panel = first; panel < last; ++panel) {
      args.b = b + panel * words_ * gemm_.columns * 2;
      for (int64_t tile = 0; tile < rows.count(); ++tile) {
        const auto [t, n] = rows[tile];
        args.a = rows.pointers(tile);
        args.sums = c + t * padded_ + panel * gemm_.columns;
        args.rows = n;
        gemm_.run(&args);
      }
    }
  }

  void output_tile(const int32_t* products, int64_t tile, uint8_t* y, const uint8_t* residual) const {
    WinogradU8OutputArgs args{};
    tiles_.outputs(y, residual, tile, args);
    args.m = products;
    args.m_stride = product_stride();
    args.start = factors_.as<int32_t>();
    args.scale = factors_.as<float>() + padded_;
    args.bias = args.scale + padded_;
    args.out = out_;
    transforms_.output(&args);
  }

  Geometry g_;
  bool add_;
  int64_t threads_;
  RequantU8 out_;
  const GemmU8& gemm_;
  const WinogradU8& transforms_;
  WinogradTiles tiles_;
  int64_t words_, padded_;
  std::shared_ptr<const Buffer> weights_;
  Buffer factors_, outside_;
};

class WinogradU8Routine : public Routine, public Estimating {
 public:
  WinogradU8Routine()
      : Routine({.id = "conv2/winograd4:u8:nhwc:cpu", .version = 3, .accuracy = Accuracy::quantised,
                 .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution_u8(p, PW_KIND_WINOGRAD_U8); !v) return v;
    const Geometry g(p);
    if (Verdict v = suits_winograd(g); !v) return v;
    if (g.inputs > kMostWinogradInputs)
      return Verdict::no("four times the sum over " + std::to_string(g.inputs) + " channels may not fit 32 bits");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (const auto& kernel : wide_gemms())
      for (auto& name : WinogradTiles::variants(Geometry(p), kOutputs, kernel, gemm_u8_kernel(kernel).rows, p.threads))
        names.push_back(std::move(name));
    return names;
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nhwc, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const GemmU8& kernel = gemm_u8_kernel(variant.substr(0, variant.find('/')));
    const WinogradTiles tiles(g, kOutputs, variant, kernel.rows);
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    const double count = number(tiles.count()), chunk = number(tiles.chunk()), chunks = std::ceil(count / chunk);
    const double inputs = number(g.inputs), outputs = number(g.outputs), matrices = number(kMatrices);
    Estimate e;
    add_product(e, {.rows = tiles.chunk(), .depth = g.inputs, .columns = g.outputs, .count = kMatrices, .runs = true}, kernel);
    // The last chunk may be short: its tiles are those of the whole but for the padding.
    e.operations *= count / chunk;
    e.work *= count / chunk;
    e.moved[0] = {};
    e.work += count * (kIn * inputs + kOut * outputs);
    const double tile = matrices * (2 * inputs + 4 * outputs), team = tiles.team() ? 1 : p.threads;
    e.move(2 * count * tile, chunk * tile * team);
    e.constants = matrices * inputs * outputs * 2;
    // Every chunk reads all transformed weights again.
    if (chunks > 1) e.move((chunks - 1) * e.constants, e.constants + chunk * tile * team);
    if (tiles.team()) e.work *= kTogether;
    e.phases = tiles.phases();
    e.pieces = tiles.team() ? 1e9 : chunks;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<WinogradU8Kernel>(p, variant, c);
  }

 private:
  // Operations of bytes that transforming the pixels under a tile takes per channel, and its outputs.
  static constexpr double kIn = 1800, kOut = 3200;
  // What it takes more where tiles go from thread to thread.
  static constexpr double kTogether = 1.12;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<WinogradU8Routine>(); }
}  // namespace PW_COLLECT
}  // namespace pw
