// Convolutions and matrix products on units that multiply bf16: the kernel behind conv2/direct and dense/gemm of formats
// bf16 and bf16x2.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "routines/conv2/geometry.h"
#include "ukernels/kinds/gemm_bf16.h"

namespace pw {

// Names of the gemm micro-kernels of the best tier, and one by its name.
std::vector<std::string> bf16_variants();
const GemmBf16& bf16_kernel(const std::string& name);  // throws Error

// In what the unit multiplies (bf16, or bf16x2: three products), and how x and y lie: so, or in f32.
struct Bf16Forms {
  DType product, in, out;
  int parts() const { return product == DType::bf16x2 ? 2 : 1; }
};

// How the input is brought to the unit.
struct Bf16Scheme {
  bool in_place;   // rows of the tiles are pixels of x where they lie; else a padded copy of it is made, block by block
  bool merged;     // the pixels under one row of the kernel are one run of channels in the copy
  bool by_column;  // threads share the columns of a block of rows, not the blocks

  static bool can_be_in_place(const Geometry& g, const Bf16Forms& forms);
  // True when merging means fewer products.
  static bool merging_pays(const Geometry& g);
};

// y = act(conv(x, w) + bias + residual), values in nhwc, the residual in the form of y.
std::unique_ptr<Kernel> bf16_convolution(const Geometry& g, const Bf16Forms& forms, const Constant& weights, const float* bias,
                                         const ActArgs& act, bool add, int threads, const Bf16Scheme& scheme,
                                         const GemmBf16& kernel);

}  // namespace pw
