// Stages of a region's layer: their activations, and 1x1 convolutions on pixels that are given at each call.
#pragma once
#include <initializer_list>
#include <optional>
#include <string_view>

#include "products/matrix.h"
#include "spi/activation.h"

namespace pw {

// The activation after a stage, the text of an epilogue; nothing when the micro-kernels do not know it.
inline std::optional<ActArgs> stage_activation(const Problem& p, std::string_view stage) {
  const Epilogue e = Epilogue::parse(p.word(stage));
  return activation(e.act, e.params);
}
// Its code, for choosing micro-kernels that apply it.
inline Act stage_act(const Problem& p, std::string_view stage) {
  return stage_activation(p, stage).value_or(kNoActivation).act;
}

// Names of the gemm micro-kernels of the best tier that apply all of these.
inline std::vector<std::string> stage_variants(std::initializer_list<Act> acts) {
  std::vector<std::string> names = gemm_variants(Layout::nhwc);
  for (Act act : acts) {
    const auto its = gemm_variants(Layout::nhwc, act);
    std::erase_if(names, [&](const std::string& name) { return std::find(its.begin(), its.end(), name) == its.end(); });
  }
  return names;
}

// A product whose rows are given at each call: pixels that lie one behind the other.
struct Pointwise {
  static constexpr int64_t kPointers = 256;  // bytes of row pointers that a thread needs

  std::shared_ptr<const Buffer> weights;
  Buffer bias;
  Product product{};

  Pointwise(const GemmF32& kernel, const Constant& w, const float* b, int64_t depth, int64_t columns,
            const ActArgs& act) {
    weights = pack_convolution(w, 0, columns, depth, 1, kernel.columns);
    bias = pack_bias(b, columns, kernel.columns);
    product.kernel = &kernel;
    product.b = weights->as<float>();
    product.bias = bias.as<float>();
    product.act = act;
    product.columns = columns;
    product.taps = 1;
    product.depth = product.chunk = depth;
    product.c_row = columns;
    product.c_group = 16;
  }

  // c = act(x * w + bias + residual) for `rows` contiguous pixels; of the columns only part `part` of `parts`.
  void run(const float* x, int64_t rows, float* c, const float* residual, const float** pointers, int64_t part = 0,
           int64_t parts = 1) const noexcept {
    Product p = product;
    p.rows = rows;
    p.blocking = {p.row_tiles(), divide_up(p.panels(), parts), 1, parts};
    walk_block(p, part, c, residual, pointers, rows_of(x, p));
  }
};

}  // namespace pw
