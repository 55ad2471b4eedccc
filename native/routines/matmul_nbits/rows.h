// The kernel of matmul_nbits/rows: rows of weights of 4 or 8 bits as they lie, against all rows of x while they are in the
// first cache. Sums of a block are in float32, one per lane of a vector, as are those of the scaled blocks.
#pragma once
#include "products/matrix.h"
#include "ukernels/kinds/nbits.h"
#include "values/strided.h"

namespace pw {

class NBitsKernel : public Kernel {
 public:
  NBitsKernel(const Problem& p, const Constants& constants, const NBits& kernel)
      : operands_(p, constants, Layout::nchw), kernel_(kernel), four_(p.integer("bits") == 4), depth_(p.integer("depth")),
        outputs_(p.in[1].shape[0]), blocks_(p.in[1].shape[1]), bytes_(p.in[1].shape[2]), zero_(p.has(3)), bias_(p.has(4)) {
    const int64_t lanes = kernel.lanes;
    spread_ = blocks_ * divide_up(bytes_, lanes) * lanes * (four_ ? 2 : 1);
    rows_ = p.in[0].count() / depth_;
    floats_ = zero_ && p.in[3].dtype == DType::f32;
    points_ = floats_ ? 0 : outputs_ * blocks_;
  }
  int64_t phases() const override { return 2; }
  bool open(size_t port, size_t axis) const override {
    return (port == 0 || port == ports()) && axis + 1 < static_cast<size_t>(rank());
  }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(round_up(rows_ * spread_ * 4, 64) + points_ * 4);
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const int64_t rows = x.count() / depth_;
    auto* own = static_cast<float*>(c.workspace);
    auto* points = reinterpret_cast<float*>(static_cast<char*>(c.workspace) + round_up(rows_ * spread_ * 4, 64));
    if (c.team.phase == 0) {
      c.team.each(rows, 1, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r)
          kernel_.spread(x.as<float>() + r * depth_, depth_, blocks_, bytes_, four_, own + r * spread_);
      });
      if (floats_) return 0;
      const uint8_t* zeros = zero_ ? operands_.in(3, c).as<uint8_t>() : nullptr;
      const int64_t row = four_ ? divide_up(blocks_, 2) : blocks_;
      c.team.each(outputs_, std::max<int64_t>(1, 1024 / blocks_), [&](int64_t first, int64_t last) {
        for (int64_t n = first; n < last; ++n)
          for (int64_t b = 0; b < blocks_; ++b)
            points[n * blocks_ + b] = !zeros ? (four_ ? 8.0f : 128.0f)
                                      : four_ ? static_cast<float>(zeros[n * row + b / 2] >> (b % 2 * 4) & 15)
                                              : static_cast<float>(zeros[n * row + b]);
      });
      return 0;
    }
    const auto* w = operands_.in(1, c).as<uint8_t>();
    const auto *scale = operands_.in(2, c).as<float>(), *zero = floats_ ? operands_.in(3, c).as<float>() : points;
    const auto* bias = bias_ ? operands_.in(4, c).as<float>() : nullptr;
    auto* y = static_cast<float*>(c.out[0]);
    const int64_t grain = std::clamp<int64_t>(round_up(outputs_ / (8 * c.team.count), 4), 4, 16);
    c.team.each(outputs_, grain, [&](int64_t first, int64_t last) {
      for (int64_t r = 0; r < rows; ++r) {
        float* to = y + r * outputs_ + first;
        const NBitsArgs args{w + first * blocks_ * bytes_, scale + first * blocks_, zero + first * blocks_, own + r * spread_, to,
                             last - first, blocks_, bytes_};
        (four_ ? kernel_.run4 : kernel_.run8)(&args);
        if (bias)
          for (int64_t n = first; n < last; ++n) to[n - first] += bias[n];
      }
    });
    return 0;
  }

  void ranks(size_t ports, int rank) { ports_ = ports, rank_ = rank; }
  // No run has more rows, so that the workspace may be smaller.
  void at_most(int64_t rows) { rows_ = std::min(rows_, rows); }

 private:
  size_t ports() const { return ports_; }
  int rank() const { return rank_; }

  RunOperands operands_;
  const NBits& kernel_;
  bool four_;
  int64_t depth_, outputs_, blocks_, bytes_;
  bool zero_, bias_, floats_ = false;
  int64_t spread_ = 0, rows_ = 0, points_ = 0;
  size_t ports_ = 1;
  int rank_ = 0;
};

}  // namespace pw
