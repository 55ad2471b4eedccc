// The kernel of matmul_nbits/gemm: weights of 4 or 8 bits are unpacked to floats for some columns and some of the depth at a
// time, and meet all rows of x while they are in a cache. Sums are in float32, as those of matmul/gemm.
#pragma once
#include "routines/matmul_nbits/weights.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {

constexpr int64_t kNBitsDepth = 256;  // that is unpacked at a time, in whole blocks
constexpr int64_t kTurned = 16;       // columns that are unpacked before they are turned

class NBitsGemmKernel : public PieceKernel {
 public:
  NBitsGemmKernel(const Problem& p, const Constants& constants, const GemmF32& kernel)
      : weights_(p, constants), kernel_(kernel), nbits_(best_ukernel<NBits>(PW_KIND_NBITS)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), act_(*epilogue_activation(p)),
        whole_(takes_blocks(nbits_, p) && kernel.columns % nbits_.lanes == 0),
        chunk_(std::max<int64_t>(1, kNBitsDepth / weights_.block)),
        panel_(round_up(chunk_ * weights_.block * kernel.columns * 4, 64)) {
    const int64_t turned = whole_ ? 0 : kTurned * chunk_ * weights_.block * 4;
    areas_ = {panel_ + turned + round_up(kernel.columns * 4, 64) + round_up(kernel.rows * 8, 64), p.threads};
  }
  bool open(size_t port, size_t axis) const override { return weights_.open(port, axis); }
  size_t workspace_bytes() const override { return areas_.total(); }

  int run(const Context& c) noexcept override {
    const Operand x = weights_.operands.in(0, c);
    const int64_t rows = x.count() / weights_.depth, tile = kernel_.columns, panels = divide_up(weights_.outputs, tile);
    const int64_t row_tiles = divide_up(rows, kernel_.rows);
    const int64_t groups = std::clamp<int64_t>(divide_up(4 * static_cast<int64_t>(c.team.count), panels), 1, row_tiles);
    char* area = areas_.own<char>(c.workspace, c.team);
    c.team.each(panels * groups, 1, [&](int64_t first, int64_t last) {
      const EvenParts tiles(rows, row_tiles), parts(row_tiles, groups);
      for (int64_t i = first; i < last; ++i) {
        const auto [tile_first, tile_count] = parts[i % groups];
        panel(c, x.as<float>(), i / groups * tile, tiles, tile_first, tile_count, area);
      }
    });
    return 0;
  }

 private:
  void panel(const Context& c, const float* x, int64_t column, const EvenParts& tiles, int64_t tile_first, int64_t tile_count,
             char* area) const noexcept {
    const int64_t tile = kernel_.columns, outputs = weights_.outputs, width = std::min(tile, outputs - column);
    const NBitsWeights weights = weights_.of(c);
    auto* b = reinterpret_cast<float*>(area);
    auto* own = reinterpret_cast<float*>(area + panel_);
    auto* bias = own + (whole_ ? 0 : kTurned * chunk_ * weights_.block);
    const auto** pointers = reinterpret_cast<const float**>(bias + round_up(tile, 16));
    const float* own_bias = weights_.bias(c);
    for (int64_t n = 0; n < tile; ++n) bias[n] = own_bias && n < width ? own_bias[column + n] : 0.0f;
    for (int64_t first = 0; first < weights_.blocks; first += chunk_) {
      const int64_t from = first * weights_.block, depth = std::min(weights_.depth - from, chunk_ * weights_.block);
      const int64_t blocks = divide_up(depth, weights_.block);
      if (width < tile) std::fill_n(b, blocks * weights_.block * tile, 0.0f);
      if (whole_) unpack(weights, column, width, first, blocks, b);
      else unpack_any(weights, column, width, first, blocks, b, own);
      for (int64_t t = 0; t < tile_count; ++t) {
        const auto [row, count] = tiles[tile_first + t];
        for (int64_t i = 0; i < kernel_.rows; ++i) pointers[i] = x + (row + std::min(i, count - 1)) * weights_.depth + from;
        GemmF32Args args{};
        args.a = pointers;
        args.b = b;
        args.c = static_cast<float*>(c.out[0]) + row * outputs + column;
        args.bias = bias;
        args.taps = 1;
        args.depth = depth;
        args.b_panel = depth * tile;
        args.rows = count;
        args.columns = width;
        args.c_row = outputs;
        args.c_group = 16;
        args.act = act_;
        args.first = from == 0;
        args.last = from + depth == weights_.depth;
        kernel_.run(&args);
      }
    }
  }

  // Blocks [first, first + count) of `width` rows of weights as rows of B.
  void unpack(const NBitsWeights& weights, int64_t column, int64_t width, int64_t first, int64_t count, float* b) const noexcept {
    const int64_t lanes = nbits_.lanes;
    for (int64_t begin = 0; begin < width; begin += lanes) {
      const NBitsUnpackArgs args{weights, column + begin, std::min(lanes, width - begin), first, count, b + begin, kernel_.columns};
      (weights_.four ? nbits_.unpack4 : nbits_.unpack8)(&args);
    }
  }

  // The same for blocks of any number of bytes; `own`: scratch memory of kTurned rows.
  void unpack_any(const NBitsWeights& weights, int64_t column, int64_t width, int64_t first, int64_t count, float* b,
                  float* own) const noexcept {
    const int64_t tile = kernel_.columns, depth = count * weights_.block;
    for (int64_t begin = 0; begin < width; begin += kTurned) {
      const int64_t some = std::min(kTurned, width - begin);
      for (int64_t n = 0; n < some; ++n)
        for (int64_t k = 0; k < count; ++k) {
          const int64_t row = column + begin + n, at = first + k;
          const float scale = weights.scale[row * weights.blocks + at], zero = point(weights, row, at);
          const uint8_t* from = weights.w + (row * weights.blocks + at) * weights_.bytes;
          float* to = own + n * depth + k * weights_.block;
          if (weights_.four) {
            for (int64_t i = 0; i < weights_.bytes; ++i) {
              to[2 * i] = (static_cast<float>(from[i] & 15) - zero) * scale;
              to[2 * i + 1] = (static_cast<float>(from[i] >> 4) - zero) * scale;
            }
          } else {
            for (int64_t i = 0; i < weights_.bytes; ++i) to[i] = (static_cast<float>(from[i]) - zero) * scale;
          }
        }
      transpose_.run(own, depth, b + begin, tile, some, depth);
    }
  }

  float point(const NBitsWeights& weights, int64_t row, int64_t block) const noexcept {
    if (!weights.zero) return weights_.four ? 8.0f : 128.0f;
    if (weights.floats) return static_cast<const float*>(weights.zero)[row * weights.blocks + block];
    const auto* bytes = static_cast<const uint8_t*>(weights.zero);
    if (!weights_.four) return static_cast<float>(bytes[row * weights.blocks + block]);
    return static_cast<float>(bytes[row * divide_up(weights.blocks, 2) + block / 2] >> (block % 2 * 4) & 15);
  }

  NBitsOperands weights_;
  const GemmF32& kernel_;
  const NBits& nbits_;
  const TransposeF32& transpose_;
  ActArgs act_;
  bool whole_;  // blocks that the micro-kernel unpacks
  int64_t chunk_, panel_;
  ThreadAreas areas_;
};

}  // namespace pw
