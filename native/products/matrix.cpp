#include "products/matrix.h"

#include <cstring>

#include "base/fork.h"

namespace pw {

std::shared_ptr<const Buffer> pack_convolution(const Constant& weights, int64_t first, int64_t outputs, int64_t inputs,
                                               int64_t taps, int64_t tile) {
  const std::string key = "conv2/" + std::to_string(first) + "/" + std::to_string(outputs) + "/" + std::to_string(tile);
  const int64_t panels = divide_up(outputs, tile), rows = taps * inputs;
  const size_t bytes = static_cast<size_t>(panels * rows * tile) * 4;
  auto fill = [&] {
    Buffer packed(bytes);
    float* data = packed.as<float>();
    const float* source = weights.as<float>() + first * rows;
    parallel_for(panels, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        float* panel = data + p * rows * tile;
        const int64_t width = std::min(tile, outputs - p * tile);
        if (width < tile) std::memset(panel, 0, static_cast<size_t>(rows * tile) * 4);
        // A block of input channels at a time: the block of the panel and the source rows both stay in L1.
        constexpr int64_t kBlock = 32;
        for (int64_t i0 = 0; i0 < inputs; i0 += kBlock)
          for (int64_t c = 0; c < width; ++c) {
            const float* row = source + (p * tile + c) * rows;
            for (int64_t i = i0; i < std::min(inputs, i0 + kBlock); ++i)
              for (int64_t t = 0; t < taps; ++t) panel[(t * inputs + i) * tile + c] = row[i * taps + t];
          }
      }
    });
    return packed;
  };
  return shared_packing(weights.id, key, fill, bytes);
}

Buffer pack_bias(const float* bias, int64_t columns, int64_t tile, int64_t more) {
  const int64_t padded = round_up(columns + more, tile);
  Buffer packed(static_cast<size_t>(padded) * 4);
  std::memset(packed.as<float>(), 0, static_cast<size_t>(padded) * 4);
  if (bias) std::memcpy(packed.as<float>(), bias, static_cast<size_t>(columns) * 4);
  return packed;
}

std::vector<std::string> gemm_variants(Layout layout, Act act) {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<GemmF32>(PW_KIND_GEMM_F32, true, act))
    if (layout != Layout::nchw16c || body->columns % 16 == 0) names.push_back(name);
  return names;
}

const GemmF32& gemm_kernel(const std::string& name) { return variant_ukernel<GemmF32>(PW_KIND_GEMM_F32, name); }

Verdict accepts_weights(const Problem& p, const std::string& applying) {
  if (p.in.size() < 2 || p.in[0].dtype != DType::f32) return Verdict::no("x is not f32");
  if (!p.in[1].constant || p.in[1].dtype != DType::f32) return Verdict::no("the weights are not an f32 constant");
  if (p.arity() > 2 && p.has(2) && !p.in[2].constant) return Verdict::no("the bias is not a constant");
  if (p.in[0].constant || (p.epilogue.add && p.in.back().constant)) return Verdict::no("x or the residual is a constant");
  if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
  return applies(applying, p.epilogue);
}

Blocking block(int64_t row_tiles, int64_t panels, int64_t panel_bytes, int64_t tile_bytes, int threads) {
  const int64_t l2 = static_cast<int64_t>(cpu().l2);
  // Half of L2 for B; the rest is for rows of A and C on their way through.
  const int64_t fit = std::max<int64_t>(1, l2 / 2 / std::max<int64_t>(1, panel_bytes));
  // Several pieces for every thread; many where B is the larger one, for then few rows make them uneven.
  const int64_t pieces = (panels * panel_bytes > row_tiles * tile_bytes ? 16 : 4) * threads;
  Blocking b;
  b.panel_blocks = divide_up(panels, std::min(panels, fit));
  b.panels = divide_up(panels, b.panel_blocks);
  b.panel_blocks = divide_up(panels, b.panels);
  // A block of rows is re-read for each block of panels: where there are several, keep it within the shared cache's
  // part; otherwise only the number of blocks per thread matters.
  const int64_t share = static_cast<int64_t>(cpu().l3) / std::max(1, threads) / 2;
  const int64_t wanted = std::max<int64_t>(1, divide_up(pieces, b.panel_blocks));
  int64_t rows = divide_up(row_tiles, threads == 1 ? 1 : wanted);
  if (b.panel_blocks > 1) rows = std::min(rows, std::max<int64_t>(1, share / std::max<int64_t>(1, tile_bytes)));
  b.row_tiles = std::max<int64_t>(1, rows);
  b.row_blocks = divide_up(row_tiles, b.row_tiles);
  // Few rows: the threads share the panels too.
  if (threads > 1 && b.count() < pieces) {
    b.panels = divide_up(panels, std::min(panels, divide_up(pieces, b.row_blocks)));
    b.panel_blocks = divide_up(panels, b.panels);
  }
  return b;
}

void block(Product& p, int threads) {
  const int64_t row_tiles = p.row_tiles(), panels = p.panels(), l2 = static_cast<int64_t>(cpu().l2);
  const int64_t panel = p.depth * p.kernel->columns * 4, tile = p.depth * p.kernel->rows * 4;
  const int64_t pass = p.chunk * p.kernel->columns * 4;  // what is read of a panel at a time
  p.fetches = false;
  if (panels * panel <= l2 / 2) {  // B stays in L2
    p.blocking = block(row_tiles, panels, pass, tile, threads);
    return;
  }
  // Else B is read once: many rows pass over a few panels, which lie in L2 beside those that are fetched meanwhile, and every
  // thread gets several blocks. Each tile of rows fetches some lines for each panel; of few rows these would be more than a
  // core has under way at a time.
  constexpr int64_t kMostTiles = 128, kLeastPanels = 2, kBlocks = 8, kMostLines = 48;
  Blocking& b = p.blocking;
  b.row_blocks = divide_up(row_tiles, kMostTiles);
  const int64_t fit = std::max<int64_t>(1, l2 * 3 / 8 / pass), wanted = kBlocks * threads;
  const int64_t shared = threads > 1 ? std::max(kLeastPanels, panels * b.row_blocks / wanted) : panels;
  b.panel_blocks = divide_up(panels, std::min({panels, fit, shared}));
  b.panels = divide_up(panels, b.panel_blocks);
  b.panel_blocks = divide_up(panels, b.panels);
  if (threads > 1 && b.count() < wanted) b.row_blocks = std::min(row_tiles, divide_up(wanted, b.panel_blocks));
  b.row_tiles = divide_up(row_tiles, b.row_blocks);
  b.row_blocks = divide_up(row_tiles, b.row_tiles);
  if (threads > 1 && b.count() < wanted) {
    b.panels = divide_up(panels, std::min(panels, divide_up(wanted, b.row_blocks)));
    b.panel_blocks = divide_up(panels, b.panels);
  }
  p.fetches = pass / 64 <= kMostLines * b.row_tiles;
}

const float* zero_row(int64_t floats) {
  // Grows and never shrinks: kernels keep pointers, so that older rows stay alive.
  static ForkMutex& mutex = *new ForkMutex;
  static auto& rows = *new std::vector<Buffer>;  // never destroyed: kernels may run while the process ends
  std::lock_guard lock(mutex);
  if (rows.empty() || rows.back().bytes() < static_cast<size_t>(floats) * 4) {
    rows.emplace_back(static_cast<size_t>(round_up(floats, 4096)) * 4);
    std::memset(rows.back().as<float>(), 0, rows.back().bytes());
  }
  return rows.back().as<float>();
}

}  // namespace pw
