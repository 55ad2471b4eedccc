// What the routines for weights with many zeros share: weights without their zeros, and the walk of spmm_f32 over tiles.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "products/matrix.h"
#include "ukernels/kinds/spmm_f32.h"

namespace pw {

// The problem says nothing about zeros where they are less than half of the weights.
inline Verdict accepts_zeros(const Problem& p) {
  if (p.zeros == 0) return Verdict::no("less than half of the weights are zeros");
  return Verdict::ok();
}

// Weights [outputs, depth] as SparseWeight, output by output; `offset(output, k)` says where the input of a weight lies.
class SparseRows {
 public:
  SparseRows() = default;
  // `signature` must name all that the offsets depend on.
  SparseRows(const Constant& weights, int64_t outputs, int64_t depth, const std::string& signature,
             const std::function<int32_t(int64_t, int64_t)>& offset);
  const int32_t* counts() const { return packed_->as<int32_t>(); }
  // The weights of an output and what follows them.
  const SparseWeight* at(int64_t output) const { return weights() + starts_[static_cast<size_t>(output)]; }
  const int64_t* starts() const { return starts_.data(); }  // outputs + 1, into at(0)
  size_t bytes() const { return packed_->bytes(); }

 private:
  const SparseWeight* weights() const {
    const int64_t head = round_up((static_cast<int64_t>(starts_.size()) - 1) * 4, 64);
    return reinterpret_cast<const SparseWeight*>(packed_->as<char>() + head);
  }
  std::shared_ptr<const Buffer> packed_;  // counts, then weights
  std::vector<int64_t> starts_;           // outputs + 1
};

std::vector<std::string> spmm_variants(Act act);
const SpmmF32& spmm_kernel(const std::string& name);  // throws Error

// Pixels of one image cut into vectors, and those into tiles. Vectors at the end of a line overlap where the line is
// not a whole number of them; such a pair is never in two tiles, so that no pixel is written by two threads.
struct PixelTiles {
  std::vector<int32_t> x, y;        // per vector: its first pixel, in floats behind that of the image
  std::vector<int32_t> first;       // per tile its first vector; one more at the end
  int64_t valid;                    // pixels of a vector that count
  // `lines` lines of `length` pixels, x_line and y_line floats apart.
  PixelTiles(int64_t lines, int64_t length, int64_t x_line, int64_t y_line, const SpmmF32& kernel);
  int64_t tiles() const { return static_cast<int64_t>(first.size()) - 1; }
};

// One product of sparse weights with an image of `tiles`; `walk` computes piece `index` of `pieces()`.
//
// With `scratch` the pixels of a tile are first copied there, `channels` rows of `tile_row()` floats: every load is then
// aligned, and of few pages. x holds rows of `x_row` floats in this case, and the weights' offsets are those of the copy.
struct SparseProduct {
  const SpmmF32* kernel;
  const SparseRows* weights;
  const PixelTiles* tiles;
  const float* bias;  // per output
  ActArgs act;
  int64_t outputs, y_row;
  int64_t parts;  // of the outputs
  int64_t channels, x_row;

  int64_t pieces() const { return tiles->tiles() * parts; }
  int64_t tile_row() const { return kernel->vectors * kernel->lanes; }
  void walk(int64_t index, const float* x, float* y, const float* residual, float* scratch = nullptr) const;
};

}  // namespace pw
