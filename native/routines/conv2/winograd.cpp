// conv2/winograd{2,4,6}: F(m x m, 3 x 3) with channels last: alpha^2 matrix products over tiles of m x m outputs.
#include <array>
#include <cstring>

#include "base/error.h"
#include "routines/conv2/geometry.h"
#include "ukernels/kinds/winograd_f32.h"

namespace pw {
namespace {

constexpr int64_t kMaxAlpha = 8;

const WinogradF32* transforms(int64_t m) {
  for (const auto& [name, body] : ukernels_of<WinogradF32>(PW_KIND_WINOGRAD_F32, true))
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

// How a run is divided: chunks of `tiles` tiles, each by one thread alone or by the whole team in three phases.
struct Schedule {
  bool team = false;
  int64_t tiles = 0;
};

// VARIANT = gemm micro-kernel "/own" TILES | gemm micro-kernel "/team" TILES
Schedule parse_schedule(const std::string& text) {
  if (text.rfind("own", 0) == 0) return {false, std::stoll(text.substr(3))};
  if (text.rfind("team", 0) == 0) return {true, std::stoll(text.substr(4))};
  throw Error("winograd schedule '" + text + "': expected ownN or teamN");
}

class WinogradKernel : public Kernel {
 public:
  WinogradKernel(const Problem& p, int64_t m, const std::string& variant, const Constants& constants)
      : g_(p), m_(m), alpha_(m + 2), add_(p.epilogue.add), threads_(p.threads), act_(*epilogue_activation(p)) {
    const size_t slash = variant.find('/');
    gemm_ = &gemm_kernel(variant.substr(0, slash));
    schedule_ = parse_schedule(variant.substr(slash + 1));
    transforms_ = transforms(m);
    tiles_y_ = divide_up(g_.out_height, m), tiles_x_ = divide_up(g_.out_width, m);
    tiles_ = g_.images * tiles_y_ * tiles_x_;
    schedule_.tiles = std::min(schedule_.tiles, round_up(tiles_, gemm_->rows));
    padded_outputs_ = round_up(g_.outputs, gemm_->columns);
    const std::string key = "winograd" + std::to_string(m) + "/" + std::to_string(gemm_->columns);
    weights_ = shared_packing(
        constants[1].id, key,
        [&] { return transform_weights(constants[1].as<float>(), g_.outputs, g_.inputs, gemm_->columns, m); },
        static_cast<size_t>(matrices() * padded_outputs_ * g_.inputs) * 4);
    bias_ = pack_bias(bias_of(p, constants), g_.outputs, round_up(gemm_->columns, 16));
    zeros_ = zero_row(g_.inputs);
  }

  int64_t phases() const override { return schedule_.team ? 3 * chunks() : 1; }
  size_t workspace_bytes() const override { return areas().total(); }
  size_t packed_bytes() const override { return weights_->bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    const auto* residual = add_ ? static_cast<const float*>(in[1]) : nullptr;
    auto* y = static_cast<float*>(out[0]);
    if (!schedule_.team) {
      float* v = areas().own<float>(workspace, team);
      float* products = v + matrices() * v_stride();
      team.each(chunks(), 1, [&](int64_t chunk, int64_t) {
        const int64_t first = chunk * schedule_.tiles, last = std::min(tiles_, first + schedule_.tiles);
        for (int64_t t = first; t < last; ++t) input_tile(x, t, v + (t - first) * g_.inputs);
        for (int64_t p = 0; p < matrices(); ++p) multiply(p, 0, panels(), v, products, last - first);
        for (int64_t t = first; t < last; ++t) output_tile(products + (t - first) * padded_outputs_, t, y, residual);
      });
      return;
    }
    float* v = static_cast<float*>(workspace);
    float* products = v + matrices() * v_stride();
    const int64_t first = team.phase / 3 * schedule_.tiles, last = std::min(tiles_, first + schedule_.tiles);
    if (team.phase % 3 == 0) {
      team.each(last - first, 1, [&](int64_t t, int64_t) { input_tile(x, first + t, v + t * g_.inputs); });
    } else if (team.phase % 3 == 1) {
      // Panels in at most 8 parts, so that few positions still make enough pieces.
      const int64_t parts = std::min<int64_t>(panels(), 8);
      team.each(matrices() * parts, 1, [&](int64_t index, int64_t) {
        const int64_t p = index / parts, part = index % parts;
        multiply(p, panels() * part / parts, panels() * (part + 1) / parts, v, products, last - first);
      });
    } else {
      team.each(last - first, 1,
                [&](int64_t t, int64_t) { output_tile(products + t * padded_outputs_, first + t, y, residual); });
    }
  }

 private:
  int64_t chunks() const { return divide_up(tiles_, schedule_.tiles); }
  int64_t matrices() const { return alpha_ * alpha_; }
  int64_t panels() const { return padded_outputs_ / gemm_->columns; }
  // Floats between positions of V and of the products. A cache line more than the matrix takes: at a multiple of 4 KiB
  // all positions of a tile would fall into the same set of L1.
  int64_t v_stride() const { return round_up(schedule_.tiles * g_.inputs, 16) + 16; }
  int64_t product_stride() const { return schedule_.tiles * padded_outputs_ + 16; }
  // Floats of both for one chunk; the transforms may touch one vector past the last channel.
  ThreadAreas areas() const {
    const int64_t floats = matrices() * (v_stride() + product_stride()) + 16;
    return {floats * 4, schedule_.team ? 1 : threads_};
  }

  void input_tile(const float* x, int64_t tile, float* v) const {
    const int64_t per_image = tiles_y_ * tiles_x_, image = tile / per_image, at = tile % per_image;
    const int64_t y0 = at / tiles_x_ * m_ - g_.pad_top, x0 = at % tiles_x_ * m_ - g_.pad_left;
    const float* base = x + image * g_.in_pixels() * g_.inputs;
    const float* pixels[kMaxAlpha * kMaxAlpha];
    for (int64_t i = 0; i < alpha_; ++i)
      for (int64_t j = 0; j < alpha_; ++j) {
        const int64_t iy = y0 + i, ix = x0 + j;
        const bool inside = iy >= 0 && iy < g_.height && ix >= 0 && ix < g_.width;
        pixels[i * alpha_ + j] = inside ? base + (iy * g_.width + ix) * g_.inputs : zeros_;
      }
    const WinogradInputArgs args{pixels, v, v_stride(), g_.inputs};
    transforms_->input(&args);
  }

  // Panels [first, last) of the product at position p for `tiles` tiles.
  void multiply(int64_t p, int64_t first, int64_t last, const float* v, float* products, int64_t tiles) const {
    const float* a = v + p * v_stride();
    float* c = products + p * product_stride();
    const float* b = weights_->as<float>() + p * padded_outputs_ * g_.inputs;
    constexpr float inf = __builtin_inff();
    const int64_t row_tiles = divide_up(tiles, gemm_->rows);
    const EvenParts parts(tiles, row_tiles);
    for (int64_t panel = first; panel < last; ++panel)
      for (int64_t row_tile = 0; row_tile < row_tiles; ++row_tile) {
        const float* rows[32];
        const auto [t, n] = parts[row_tile];
        for (int64_t i = 0; i < gemm_->rows; ++i) rows[i] = a + (t + std::min(i, n - 1)) * g_.inputs;
        GemmF32Args args{};
        args.a = rows;
        args.b = b + panel * g_.inputs * gemm_->columns;
        args.c = c + t * padded_outputs_ + panel * gemm_->columns;
        args.taps = 1;
        args.depth = g_.inputs;
        args.rows = n;
        args.columns = gemm_->columns;
        args.c_row = padded_outputs_;
        args.c_group = 16;
        args.act = {Act::clip, -inf, inf};
        args.first = args.last = true;
        gemm_->run(&args);
      }
  }

  void output_tile(const float* products, int64_t tile, float* y, const float* residual) const {
    const int64_t per_image = tiles_y_ * tiles_x_, image = tile / per_image, at = tile % per_image;
    const int64_t oy = at / tiles_x_ * m_, ox = at % tiles_x_ * m_;
    const int64_t offset = ((image * g_.out_height + oy) * g_.out_width + ox) * g_.outputs;
    WinogradOutputArgs args{};
    args.m = products;
    args.m_stride = product_stride();
    args.channels = g_.outputs;
    args.y = y + offset;
    args.residual = residual ? residual + offset : nullptr;
    args.y_row = g_.out_width * g_.outputs;
    args.y_pixel = g_.outputs;
    args.rows = std::min(m_, g_.out_height - oy);
    args.columns = std::min(m_, g_.out_width - ox);
    args.bias = bias_.as<float>();
    args.act = act_;
    transforms_->output(&args);
  }

  Geometry g_;
  int64_t m_, alpha_;
  bool add_;
  int64_t threads_;
  ActArgs act_;
  const GemmF32* gemm_ = nullptr;
  const WinogradF32* transforms_ = nullptr;
  Schedule schedule_;
  int64_t tiles_y_ = 0, tiles_x_ = 0, tiles_ = 0, padded_outputs_ = 0;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  const float* zeros_ = nullptr;
};

class Winograd : public ConvolutionRoutine {
 public:
  explicit Winograd(int64_t m)
      : ConvolutionRoutine("conv2/winograd" + std::to_string(m) + ":f32:nhwc:cpu", Layout::nhwc, Layout::nhwc,
                           Accuracy::f32),
        m_(m) {}
  Verdict suits(const Problem&, const Geometry& g) const override {
    if (g.kernel_height != 3 || g.kernel_width != 3) return Verdict::no("the kernel is not 3x3");
    if (g.stride_y != 1 || g.stride_x != 1) return Verdict::no("the stride is not 1");
    if (g.dilation_y != 1 || g.dilation_x != 1) return Verdict::no("the dilation is not 1");
    if (g.groups != 1) return Verdict::no("groups are not 1");
    if (m_ == 6 && g.inputs > kMostInputsOfF6)
      return Verdict::no("above " + std::to_string(kMostInputsOfF6) + " input channels its error leaves class f32");
    if (!transforms(m_) || gemm_variants(Layout::nhwc).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  // Chunks that a thread works on alone, small enough for its L2 or large enough to read the weights seldom; or all
  // tiles at once by the team, which reads the weights once.
  std::vector<std::string> variants(const Problem& p) const override {
    const Geometry g(p);
    const int64_t tiles = g.images * divide_up(g.out_height, m_) * divide_up(g.out_width, m_);
    std::vector<std::string> names;
    for (const auto& kernel : gemm_variants(Layout::nhwc)) {
      const int64_t rows = gemm_kernel(kernel).rows;
      for (int64_t multiple : {4, 12})
        if (tiles >= rows * multiple * p.threads) names.push_back(kernel + "/own" + std::to_string(rows * multiple));
      for (int64_t limit : {rows * 24, kAll})
        if (limit == kAll ? tiles <= rows * 64 : tiles > 2 * limit)
          names.push_back(kernel + "/team" + std::to_string(limit == kAll ? round_up(tiles, rows) : limit));
    }
    return names;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<WinogradKernel>(p, m_, variant, c);
  }

 private:
  static constexpr int64_t kAll = 0;
  // Relative RMS error of F(6): 3.4e-6 at 64 channels, 6.1e-6 at 192, growing on; the class allows 1e-5.
  static constexpr int64_t kMostInputsOfF6 = 192;
  int64_t m_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (int64_t m : {2, 4, 6}) c.add<Winograd>(m);
}
}  // namespace PW_COLLECT
}  // namespace pw
