// The kernel of matmul_nbits/gemm: weights of 4 or 8 bits are unpacked to floats for some columns and some of the depth at a
// time, and meet all rows of x while they are in a cache. Sums are in float32, as those of matmul/gemm.
#pragma once
#include "products/matrix.h"
#include "ukernels/kinds/transpose_f32.h"
#include "values/strided.h"

namespace pw {

constexpr int64_t kNBitsDepth = 512;  // that is unpacked at a time, in whole blocks
constexpr int64_t kTurned = 16;       // columns that are unpacked before they are turned

class NBitsGemmKernel : public PieceKernel {
 public:
  NBitsGemmKernel(const Problem& p, const Constants& constants, const GemmF32& kernel)
      : operands_(p, constants, Layout::nchw), kernel_(kernel),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), act_(*epilogue_activation(p)),
        four_(p.integer("bits") == 4), block_(p.integer("block")), depth_(p.integer("depth")), outputs_(p.in[1].shape[0]), blocks_(p.in[1].shape[1]),
        bytes_(p.in[1].shape[2]), zero_(p.has(3)), bias_(p.has(4)), floats_(zero_ && p.in[3].dtype == DType::f32),
        ports_(p.dynamic().size()), rank_(p.in[0].shape.size()) {
    chunk_ = std::max<int64_t>(1, kNBitsDepth / block_);
    panel_ = round_up(chunk_ * block_ * kernel.columns * 4, 64);
    const int64_t turned = kTurned * chunk_ * block_ * 4;
    areas_ = {panel_ + turned + round_up(kernel.columns * 4, 64) + round_up(kernel.rows * 8, 64), p.threads};
  }
  bool open(size_t port, size_t axis) const override { return (port == 0 || port == ports_) && axis + 1 < rank_; }
  size_t workspace_bytes() const override { return areas_.total(); }

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const int64_t rows = x.count() / depth_, tile = kernel_.columns, panels = divide_up(outputs_, tile);
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
    const int64_t tile = kernel_.columns, width = std::min(tile, outputs_ - column);
    auto* b = reinterpret_cast<float*>(area);
    auto* own = reinterpret_cast<float*>(area + panel_);
    auto* bias = own + kTurned * chunk_ * block_;
    const auto** pointers = reinterpret_cast<const float**>(bias + round_up(tile, 16));
    const auto* own_bias = bias_ ? operands_.in(4, c).as<float>() : nullptr;
    for (int64_t n = 0; n < tile; ++n) bias[n] = own_bias && n < width ? own_bias[column + n] : 0.0f;
    for (int64_t first = 0; first < blocks_; first += chunk_) {
      const int64_t from = first * block_, depth = std::min(depth_ - from, chunk_ * block_);
      unpack(c, column, width, first, divide_up(depth, block_), b, own);
      for (int64_t t = 0; t < tile_count; ++t) {
        const auto [row, count] = tiles[tile_first + t];
        for (int64_t i = 0; i < kernel_.rows; ++i) pointers[i] = x + (row + std::min(i, count - 1)) * depth_ + from;
        GemmF32Args args{};
        args.a = pointers;
        args.b = b;
        args.c = static_cast<float*>(c.out[0]) + row * outputs_ + column;
        args.bias = bias;
        args.taps = 1;
        args.depth = depth;
        args.b_panel = depth * tile;
        args.rows = count;
        args.columns = width;
        args.c_row = outputs_;
        args.c_group = 16;
        args.act = act_;
        args.first = from == 0;
        args.last = from + depth == depth_;
        kernel_.run(&args);
      }
    }
  }

  // Blocks [first, first + count) of `width` rows of weights as rows of B; `own`: scratch memory of kTurned rows.
  void unpack(const Context& c, int64_t column, int64_t width, int64_t first, int64_t count, float* b,
              float* own) const noexcept {
    const int64_t tile = kernel_.columns;
    const auto* w = operands_.in(1, c).as<uint8_t>();
    const auto* scales = operands_.in(2, c).as<float>();
    const void* zeros = zero_ ? operands_.in(3, c).data : nullptr;
    const int64_t depth = count * block_;
    if (width < tile) std::fill_n(b, depth * tile, 0.0f);
    for (int64_t begin = 0; begin < width; begin += kTurned) {
      const int64_t some = std::min(kTurned, width - begin);
      for (int64_t n = 0; n < some; ++n)
        for (int64_t k = 0; k < count; ++k) {
          const int64_t row = column + begin + n, at = first + k;
          const float scale = scales[row * blocks_ + at], zero = point(zeros, row, at);
          const uint8_t* from = w + (row * blocks_ + at) * bytes_;
          float* to = own + n * depth + k * block_;
          if (four_) {
            for (int64_t i = 0; i < bytes_; ++i) {
              to[2 * i] = (static_cast<float>(from[i] & 15) - zero) * scale;
              to[2 * i + 1] = (static_cast<float>(from[i] >> 4) - zero) * scale;
            }
          } else {
            for (int64_t i = 0; i < bytes_; ++i) to[i] = (static_cast<float>(from[i]) - zero) * scale;
          }
        }
      transpose_.run(own, depth, b + begin, tile, some, depth);
    }
  }

  float point(const void* zeros, int64_t row, int64_t block) const noexcept {
    if (!zeros) return four_ ? 8.0f : 128.0f;
    if (floats_) return static_cast<const float*>(zeros)[row * blocks_ + block];
    const auto* bytes = static_cast<const uint8_t*>(zeros);
    if (!four_) return static_cast<float>(bytes[row * blocks_ + block]);
    return static_cast<float>(bytes[row * divide_up(blocks_, 2) + block / 2] >> (block % 2 * 4) & 15);
  }

  RunOperands operands_;
  const GemmF32& kernel_;
  const TransposeF32& transpose_;
  ActArgs act_;
  bool four_;
  int64_t block_, depth_, outputs_, blocks_, bytes_;
  bool zero_, bias_, floats_;
  size_t ports_, rank_;
  int64_t chunk_ = 1, panel_ = 0;
  ThreadAreas areas_;
};

}  // namespace pw
