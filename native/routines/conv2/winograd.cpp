// conv2/winograd{2,4,6}: F(m x m, 3 x 3) with channels last: alpha^2 matrix products over tiles of m x m outputs.
#include <array>
#include <cmath>
#include <cstring>

#include "products/estimates.h"
#include "routines/conv2/winograd.h"
#include "ukernels/kinds/winograd_f32.h"

namespace pw {
namespace {

constexpr int64_t kMaxAlpha = 8;

const WinogradF32* transforms(int64_t m, Act act) {
  for (const auto& [name, body] : ukernels_of<WinogradF32>(PW_KIND_WINOGRAD_F32, true, act))
    if (body->outputs == m) return body;
  return nullptr;
}

// G of F(m, 3), alpha x 3: row of point p is (1, p, p^2) / prod(p - other points); infinity is (0, 0, 1).
std::vector<std::array<double, 3>> weight_transform(int64_t m) {
  std::vector<double> points{0.0};
  for (int64_t i = 0; i < m / 2; ++i)
    for (double sign : {1.0, -1.0}) points.push_back(sign * kWinogradPoints[m / 2 - 1][i]);
  std::vector<std::array<double, 3>> g;
  for (size_t i = 0; i < points.size(); ++i) {
    double n = 1;
    for (size_t j = 0; j < points.size(); ++j)
      if (j != i) n *= points[i] - points[j];
    g.push_back({1 / n, points[i] / n, points[i] * points[i] / n});
  }
  g.push_back({0, 0, 1});
  return g;
}

// U[p] = (G w G^T)[p], a packed matrix inputs x outputs for each position p.
Buffer transform_weights(const float* w, int64_t outputs, int64_t inputs, int64_t tile, int64_t m) {
  const auto g = weight_transform(m);
  const int64_t alpha = m + 2, panels = divide_up(outputs, tile), matrix = panels * inputs * tile;
  Buffer packed(static_cast<size_t>(alpha * alpha * matrix) * 4);
  float* to = packed.as<float>();
  parallel_for(panels, [&](int64_t first, int64_t last) {
    constexpr int64_t kLanes = 16;
    for (int64_t p = first; p < last; ++p)
      for (int64_t c0 = 0; c0 < tile; c0 += kLanes)
        for (int64_t i = 0; i < inputs; ++i) {
          const int64_t lanes = std::min(kLanes, tile - c0);
          double k[9][kLanes] = {}, half[kMaxAlpha][3][kLanes];
          for (int64_t lane = 0; lane < lanes; ++lane) {
            const int64_t o = p * tile + c0 + lane;
            if (o >= outputs) break;
            for (int t = 0; t < 9; ++t) k[t][lane] = w[(o * inputs + i) * 9 + t];
          }
          for (int64_t r = 0; r < alpha; ++r)
            for (int x = 0; x < 3; ++x)
              for (int64_t lane = 0; lane < kLanes; ++lane)
                half[r][x][lane] = g[r][0] * k[x][lane] + g[r][1] * k[3 + x][lane] + g[r][2] * k[6 + x][lane];
          for (int64_t r = 0; r < alpha; ++r)
            for (int64_t s = 0; s < alpha; ++s) {
              float* row = to + (r * alpha + s) * matrix + (p * inputs + i) * tile + c0;
              for (int64_t lane = 0; lane < lanes; ++lane)
                row[lane] = static_cast<float>(g[s][0] * half[r][0][lane] + g[s][1] * half[r][1][lane] +
                                               g[s][2] * half[r][2][lane]);
            }
        }
  });
  return packed;
}

// VARIANT: see WinogradTiles.
class WinogradKernel : public Kernel {
 public:
  WinogradKernel(const Problem& p, int64_t m, const std::string& variant, const Constants& constants)
      : g_(p), add_(p.epilogue.add), threads_(p.threads), act_(*epilogue_activation(p)),
        gemm_(gemm_kernel(variant.substr(0, variant.find('/')))), transforms_(*transforms(m, act_.act)),
        tiles_(g_, m, variant, gemm_.rows), padded_group_(round_up(g_.group_outputs(), gemm_.columns)),
        padded_outputs_(g_.groups == 1 ? padded_group_ : round_up(g_.outputs, 16)) {
    const std::string key = "winograd" + std::to_string(m) + "/" + std::to_string(gemm_.columns);
    const int64_t outputs = g_.group_outputs(), inputs = g_.group_inputs();
    for (int64_t group = 0; group < g_.groups; ++group)
      weights_.push_back(shared_packing(
          constants[1].id, g_.groups == 1 ? key : key + "/" + std::to_string(group) + "/" + std::to_string(g_.groups),
          [&] { return transform_weights(constants[1].as<float>() + group * outputs * inputs * 9, outputs, inputs, gemm_.columns, m); },
          static_cast<size_t>(tiles_.matrices() * padded_group_ * inputs) * 4));
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, round_up(gemm_.columns, 16));
    zeros_ = zero_row(g_.inputs);
  }

  int64_t phases() const override { return tiles_.phases(); }
  size_t workspace_bytes() const override { return areas().total(); }
  size_t packed_bytes() const override { return bytes_of(weights_); }
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const override {
    if (g_.groups > 1) return {};
    return tiles_.reads_first(phase, index, count, panels(), weights_[0]->memory());
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    float* v = tiles_.team() ? static_cast<float*>(workspace) : areas().own<float>(workspace, team);
    float* products = v + tiles_.matrices() * v_stride();
    tiles_.run(
        team, g_.groups * panels(),
        [&](int64_t tile, int64_t slot) { input_tile(x, tile, v + slot * g_.inputs); },
        [&](int64_t p, int64_t first, int64_t last, int64_t n) { multiply(p, first, last, v, products, n); },
        [&](int64_t tile, int64_t slot) { output_tile(products + slot * padded_outputs_, tile, y, residual); });
  }

 private:
  // Floats between positions of V and of the products. A cache line more than the matrix takes: at a multiple of 4 KiB
  // all positions of a tile would fall into the same set of L1.
  int64_t v_stride() const { return round_up(tiles_.chunk() * g_.inputs, 16) + 16; }
  int64_t product_stride() const { return tiles_.chunk() * padded_outputs_ + 16; }
  // Floats of both for one chunk; the transforms may touch one vector past the last channel.
  ThreadAreas areas() const {
    const int64_t floats = tiles_.matrices() * (v_stride() + product_stride()) + 16;
    return {floats * 4, tiles_.team() ? 1 : threads_};
  }

  void input_tile(const float* x, int64_t tile, float* v) const {
    const float* pixels[kMaxAlpha * kMaxAlpha];
    tiles_.pixels(x, tile, zeros_, pixels);
    const WinogradInputArgs args{pixels, v, v_stride(), g_.inputs};
    transforms_.input(&args);
  }

  int64_t panels() const { return padded_group_ / gemm_.columns; }  // of a group

  // Panels [first, last) of the product at position p, counted through the groups, for `tiles` tiles.
  void multiply(int64_t p, int64_t first, int64_t last, const float* v, float* products, int64_t tiles) const {
    for (int64_t group = first / panels(); group * panels() < last; ++group) {
      const int64_t before = group * panels();
      multiply_group(p, group, std::max(first, before) - before, std::min(last, before + panels()) - before, v, products, tiles);
    }
  }

  void multiply_group(int64_t p, int64_t group, int64_t first, int64_t last, const float* v, float* products, int64_t tiles) const {
    const int64_t depth = g_.group_inputs();
    const float* a = v + p * v_stride() + group * depth;
    float* c = products + p * product_stride() + group * g_.group_outputs();
    const float* b = weights_[static_cast<size_t>(group)]->as<float>() + p * padded_group_ * depth;
    const RowTiles<const float*> rows(tiles, gemm_.rows, [&](int64_t i) { return a + i * g_.inputs; });
    GemmF32Args args{};
    args.taps = 1;
    args.depth = depth;
    args.c_row = padded_outputs_;
    args.c_group = 16;
    args.act = kNoActivation;
    args.first = args.last = true;
    for (int64_t panel = first; panel < last; ++panel) {
      // What a single group has beyond its outputs is its own; that of one of many belongs to the next one.
      const int64_t column = panel * gemm_.columns;
      args.columns = g_.groups == 1 ? gemm_.columns : std::min<int64_t>(gemm_.columns, g_.group_outputs() - column);
      args.b = b + column * depth;
      for (int64_t tile = 0; tile < rows.count(); ++tile) {
        const auto [t, n] = rows[tile];
        args.a = rows.pointers(tile);
        args.c = c + t * padded_outputs_ + column;
        args.rows = n;
        gemm_.run(&args);
      }
    }
  }

  void output_tile(const float* products, int64_t tile, float* y, const float* residual) const {
    WinogradOutputArgs args{};
    tiles_.outputs(y, residual, tile, args);
    args.m = products;
    args.m_stride = product_stride();
    args.bias = bias_.as<float>();
    args.act = act_;
    transforms_.output(&args);
  }

  Geometry g_;
  bool add_;
  int64_t threads_;
  ActArgs act_;
  const GemmF32& gemm_;
  const WinogradF32& transforms_;
  WinogradTiles tiles_;
  int64_t padded_group_, padded_outputs_;           // outputs of a group in whole panels, floats of a tile's products
  std::vector<std::shared_ptr<const Buffer>> weights_;  // of each group
  Buffer bias_;
  const float* zeros_ = nullptr;
};

class Winograd : public ConvolutionRoutine, public Estimating {
 public:
  explicit Winograd(int64_t m)
      : ConvolutionRoutine("conv2/winograd" + std::to_string(m) + ":f32:nhwc:cpu", Layout::nhwc, Layout::nhwc,
                           Accuracy::f32),
        m_(m) {
    card_.version = 3;
    applying_ = PW_KIND_WINOGRAD_F32;
  }
  Verdict suits(const Problem& p, const Geometry& g) const override {
    if (Verdict v = suits_winograd(g, true); !v) return v;
    if (m_ == 6 && g.group_inputs() > kMostInputsOfF6)
      return Verdict::no("above " + std::to_string(kMostInputsOfF6) + " input channels its error leaves class f32");
    if (!transforms(m_, epilogue_act(p)) || gemm_variants(Layout::nhwc).empty())
      return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    for (const auto& kernel : gemm_variants(Layout::nhwc))
      for (auto& name : WinogradTiles::variants(Geometry(p), m_, kernel, gemm_kernel(kernel).rows, p.threads))
        names.push_back(std::move(name));
    return names;
  }
  Ports ports(const Problem& p) const override {
    const Geometry g(p);
    const Ports ports = ConvolutionRoutine::ports(p);
    return m_ == 4 && pays(g) ? preferred(ports) : ports;
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    const GemmF32& kernel = gemm_kernel(variant.substr(0, variant.find('/')));
    const WinogradTiles tiles(g, m_, variant, kernel.rows);
    const double count = static_cast<double>(tiles.count()), alpha = static_cast<double>(tiles.alpha());
    const double matrices = alpha * alpha, inputs = static_cast<double>(g.inputs), outputs = static_cast<double>(g.outputs);
    const double chunk = static_cast<double>(tiles.chunk()), chunks = std::ceil(count / chunk);
    const auto [line_in, line_out] = m_ == 2 ? std::pair(4.0, 4.0) : m_ == 4 ? std::pair(22.0, 16.0) : std::pair(45.0, 35.0);
    Estimate e;
    // The last chunk may be short: its tiles are those of the whole but for the padding.
    add_product(e, {.rows = chunk, .depth = inputs, .columns = outputs, .count = matrices * (count / chunk)}, kernel);
    e.add(count * 2 * alpha * line_in * inputs, kTransformIn);
    e.add(count * (alpha + static_cast<double>(m_)) * line_out * outputs, kTransformOut);
    e.moved[0] = {};
    const double area = chunk * matrices * (inputs + outputs) * 4, team = tiles.team() ? 1 : p.threads;
    e.move(2 * count * matrices * (inputs + outputs) * 4, area * team);
    e.constants = matrices * inputs * outputs * 4;
    // Every chunk reads all transformed weights again.
    if (chunks > 1) e.move((chunks - 1) * e.constants, e.constants + area * team);
    if (tiles.team()) e.work *= kTogether;
    e.phases = tiles.phases();
    e.pieces = tiles.team() ? 1e9 : chunks;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<WinogradKernel>(p, m_, variant, c);
  }

 private:
  // Relative RMS error of F(6): 3.4e-6 at 64 channels, 6.1e-6 at 192, growing on; the class allows 1e-5.
  static constexpr int64_t kMostInputsOfF6 = 192;
  static bool pays(const Geometry& g) {
    const int64_t channels = std::min(g.group_inputs(), g.group_outputs());
    // Tiles of small images, and of phases of a few pixels, are mostly border.
    const auto pixels = [&](int64_t n) { return g.out_height >= n * g.dilation_y && g.out_width >= n * g.dilation_x; };
    if (g.groups > 1) return channels >= kManyInGroups && channels % kManyInGroups == 0 && pixels(20);
    return channels >= kManyChannels && ((g.dilation_y == 1 && g.dilation_x == 1) || pixels(4));
  }
  static constexpr int64_t kManyInGroups = 16;
  // From here on the products, not the transforms, take most of the time.
  static constexpr int64_t kManyChannels = 32;
  // Of the peak, for the additions of the transforms; those of the outputs apply the epilogue and store.
  static constexpr double kTransformIn = 0.96, kTransformOut = 0.1;
  // What it takes more where tiles go from thread to thread.
  static constexpr double kTogether = 1.12;
  int64_t m_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (int64_t m : {2, 4, 6}) c.add<Winograd>(m);
}
}  // namespace PW_COLLECT
}  // namespace pw
