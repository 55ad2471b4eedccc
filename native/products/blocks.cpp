#include "products/blocks.h"

#include <cstring>

#include "base/error.h"
#include "spi/ukernel.h"

namespace pw {

std::vector<std::string> block_variants(Act act) {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<GemmF32>(PW_KIND_GEMM_INDEXED_F32, true, act))
    if (body->columns == kBlock) names.push_back(name);
  return names;
}

BlocksProduct::BlocksProduct(const BlocksProblem& p, const std::string& variant)
    : outputs_(p.outputs), images_(p.images), image_in_(p.image_in), blocks_(divide_up(p.outputs, kBlock)), act_(p.act),
      rows_(p.rows), bias_(pack_bias(p.bias, p.outputs, kBlock)) {
  kernel_ = ukernel<GemmF32>(PW_KIND_GEMM_INDEXED_F32, variant);
  if (!kernel_) throw Error("micro-kernel '" + variant + "' is not available on this machine");
  pack(p);
  tiles_ = divide_up(images_ * static_cast<int64_t>(rows_.size()), kernel_->rows);
  const int64_t kept = starts_.back();
  blocking_ = block(tiles_, blocks_, divide_up(kept * kBlock * 4, blocks_), kernel_->rows * p.depth * 4, p.threads);
}

void BlocksProduct::pack(const BlocksProblem& p) {
  const auto* w = p.weights.as<float>();
  const int64_t depth = p.depth, outputs = p.outputs, group_outputs = p.outputs / p.groups;
  const auto empty = [=](int64_t block, int64_t k) {
    for (int64_t o = block * kBlock; o < std::min(outputs, (block + 1) * kBlock); ++o)
      if (w[o * depth + k] != 0.0f) return false;
    return true;
  };
  index_ = shared_packing(p.weights.id, "blocks/index/" + p.signature, [&] {
    std::vector<int32_t> counts(static_cast<size_t>(blocks_), 0), found;
    for (int64_t b = 0; b < blocks_; ++b)
      for (int64_t k = 0; k < depth; ++k)
        if (!empty(b, k)) {
          found.push_back(p.offset(b * kBlock / group_outputs, k));
          ++counts[static_cast<size_t>(b)];
        }
    Buffer packed((counts.size() + found.size()) * 4);
    std::copy(counts.begin(), counts.end(), packed.as<int32_t>());
    std::copy(found.begin(), found.end(), packed.as<int32_t>() + blocks_);
    return packed;
  });
  starts_.assign(1, 0);
  for (int64_t b = 0; b < blocks_; ++b) starts_.push_back(starts_.back() + index_->as<int32_t>()[b]);
  packed_ = shared_packing(p.weights.id, "blocks", [&] {
    Buffer packed(static_cast<size_t>(starts_.back() * kBlock) * 4);
    std::memset(packed.as<char>(), 0, packed.bytes());
    parallel_for(blocks_, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        float* to = packed.as<float>() + starts_[static_cast<size_t>(b)] * kBlock;
        for (int64_t k = 0; k < depth; ++k) {
          if (empty(b, k)) continue;
          for (int64_t o = b * kBlock; o < std::min(outputs, (b + 1) * kBlock); ++o) to[o % kBlock] = w[o * depth + k];
          to += kBlock;
        }
      }
    });
    return packed;
  });
}

void BlocksProduct::run(const float* x, float* y, const float* residual, Team& team) const {
  const int64_t per_image = static_cast<int64_t>(rows_.size());
  const EvenParts tiles(images_ * per_image, tiles_);
  team.each(blocking_.count(), 1, [&](int64_t index, int64_t) {
    const int64_t row_block = index % blocking_.row_blocks, panel_block = index / blocking_.row_blocks;
    const int64_t last_tile = std::min(tiles_, (row_block + 1) * blocking_.row_tiles);
    const int64_t last = std::min(blocks_, (panel_block + 1) * blocking_.panels);
    const float* pointers[32];
    GemmF32Args args{};
    args.a = pointers;
    args.taps = 1;
    args.c_row = outputs_;
    args.c_group = kBlock;
    args.act = act_;
    args.first = args.last = true;
    for (int64_t tile = row_block * blocking_.row_tiles; tile < last_tile; ++tile) {
      const auto [row, rows] = tiles[tile];
      for (int64_t i = 0; i < kernel_->rows; ++i) {
        const int64_t at = row + std::min(i, rows - 1);
        pointers[i] = x + at / per_image * image_in_ + rows_[static_cast<size_t>(at % per_image)];
      }
      args.rows = rows;
      for (int64_t b = panel_block * blocking_.panels; b < last; ++b) {
        const int64_t start = starts_[static_cast<size_t>(b)], at = row * outputs_ + b * kBlock;
        args.depth = starts_[static_cast<size_t>(b + 1)] - start;
        args.b = packed_->as<float>() + start * kBlock;
        args.index = index_->as<int32_t>() + blocks_ + start;
        args.bias = bias_.as<float>() + b * kBlock;
        args.columns = std::min(kBlock, outputs_ - b * kBlock);
        args.c = y + at;
        args.residual = residual ? residual + at : nullptr;
        kernel_->run(&args);
      }
    }
  });
}

}  // namespace pw
