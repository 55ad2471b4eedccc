// What the kernels of matmul_nbits share: where a run's weights lie, and their sizes.
#pragma once
#include "products/matrix.h"
#include "ukernels/kinds/nbits.h"
#include "values/strided.h"

namespace pw {

struct NBitsOperands {
  RunOperands operands;
  bool four;
  int64_t block, depth, outputs, blocks, bytes;  // bytes: of a block
  bool zero, has_bias, floats;
  size_t ports, rank;

  NBitsOperands(const Problem& p, const Constants& constants)
      : operands(p, constants, Layout::nchw), four(p.integer("bits") == 4), block(p.integer("block")), depth(p.integer("depth")),
        outputs(p.in[1].shape[0]), blocks(p.in[1].shape[1]), bytes(p.in[1].shape[2]), zero(p.has(3)), has_bias(p.has(4)),
        floats(zero && p.in[3].dtype == DType::f32), ports(p.dynamic().size()), rank(p.in[0].shape.size()) {}
  bool open(size_t port, size_t axis) const { return (port == 0 || port == ports) && axis + 1 < rank; }
  int64_t words() const { return bytes / 4; }
  NBitsWeights of(const Context& c) const {
    return {operands.in(1, c).as<uint8_t>(), operands.in(2, c).as<float>(), zero ? operands.in(3, c).data : nullptr, floats,
            blocks, words()};
  }
  const float* bias(const Context& c) const { return has_bias ? operands.in(4, c).as<float>() : nullptr; }
};

// Whether a micro-kernel takes the blocks of a problem.
inline bool takes_blocks(const NBits& kernel, const Problem& p) {
  const int64_t bytes = p.in[1].shape[2];
  return bytes % 4 == 0 && kernel.takes(bytes / 4, p.integer("bits") == 4);
}

}  // namespace pw
