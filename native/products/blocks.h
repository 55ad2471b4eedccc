// The kernel of conv2/sparse_blocks and dense/sparse_blocks: weights that are zero in whole blocks of 16 outputs.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "products/matrix.h"

namespace pw {

constexpr int64_t kBlock = 16;  // outputs

inline Verdict accepts_zero_blocks(const Problem& p) {
  if (p.zero_blocks == 0) return Verdict::no("less than half of the blocks of 16 outputs are zero throughout");
  return Verdict::ok();
}

// Variants: the indexed gemm micro-kernels whose tile is one block wide.
std::vector<std::string> block_variants(Act act);

// y = act(W x + bias + residual), W [outputs, depth]. Row r of image n of the input begins at
// n * image_in + rows[r], what weight k multiplies lies offset(group of the output, k) floats behind.
struct BlocksProblem {
  int64_t outputs, depth, groups;
  Constant weights;
  const float* bias;  // may be null
  ActArgs act;
  int threads;
  int64_t images, image_in;
  std::vector<int64_t> rows;
  std::function<int32_t(int64_t group, int64_t k)> offset;
  std::string signature;  // names all that the offsets depend on
};

class BlocksProduct {
 public:
  BlocksProduct(const BlocksProblem& p, const std::string& variant);
  size_t bytes() const { return packed_->bytes() + index_->bytes(); }
  // Called by every thread of the team.
  void run(const float* x, float* y, const float* residual, Team& team) const;

 private:
  void pack(const BlocksProblem& p);
  int64_t outputs_, images_, image_in_, blocks_;
  int64_t tiles_ = 0;
  const GemmF32* kernel_;
  ActArgs act_;
  std::vector<int64_t> rows_, starts_;            // starts_: of the blocks among the kept ones
  std::shared_ptr<const Buffer> packed_, index_;  // weights of the kept blocks; counts per block, then their offsets
  Buffer bias_;
  Blocking blocking_;
};

}  // namespace pw
