// Products on units that multiply numbers of 16 bits: what the convolutions and matrix products in bf16, bf16x2, bf16x3 and
// f16 share.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "products/geometry.h"
#include "spi/estimate.h"
#include "ukernels/kinds/gemm_half.h"

namespace pw {

// What the unit multiplies, bf16 or f16, in how many parts of it (1: bf16 or f16, 2: bf16x2, three products, 3: bf16x3,
// six), and how the factors and y lie: in that form, or in f32. Three parts are no form of values: they would take half as
// many bytes again as the floats that they hold, so bf16x3 reads and writes f32.
struct HalfForms {
  int parts;
  DType in, out;
  DType part = DType::bf16;
};

// The kind of the gemm micro-kernels that multiply numbers in that form; names of those of the best tier that multiply numbers
// in so many parts and apply `act`; and one of them by its name.
const char* half_kind(DType part);
std::vector<std::string> half_variants(DType part, int parts, Act act);
const GemmHalf& half_kernel(DType part, const std::string& name);  // throws Error

// How the input is brought to the unit.
struct HalfScheme {
  bool in_place;   // rows of the tiles are pixels of x where they lie; else a padded copy of it is made, block by block
  bool merged;     // the pixels under one row of the kernel are one run of channels in the copy
  bool by_column;  // threads share the columns of a block of rows, not the blocks

  static bool can_be_in_place(const Geometry& g, const HalfForms& forms);
  // True when merging means fewer products.
  static bool merging_pays(const Geometry& g);
};

// Constant weights: that of output n and channel c of a group at tap t is
// data[group * group_step + n * output_step + c * input_step + taps[t]].
struct HalfWeights {
  Constant constant;
  int64_t group_step, output_step, input_step;
  std::vector<int64_t> taps;
  std::string name;  // names these steps in the key of the packed copy

  // [outputs, inputs of a group, kernel height, kernel width]
  static HalfWeights of_convolution(const Constant& constant, const Geometry& g);
};

// Products of two values: image i is a[i] times b[i], matrices of inputs 0 and 1; those of b are [inputs, outputs] and
// packed at the start of every run.
struct HalfBatch {
  std::vector<int64_t> a, b;
  int64_t b_matrices = 0;
};

// y = act(conv(x, w) + bias + residual), values in nhwc, the residual in the form of y.
struct HalfProblem {
  Geometry g;
  HalfForms forms;
  HalfWeights weights;   // unless `batch` has b
  HalfBatch batch;       // empty: x as it lies
  const float* bias;     // may be null
  ActArgs act;
  bool add;
  int threads;
  // Where outputs lie, in pixels of y: the first one, and from one to the next, of a row, of an image. Zeros: densely.
  int64_t first = 0, step = 0, line = 0, image = 0;
};
std::unique_ptr<Kernel> half_convolution(const HalfProblem& problem, const HalfScheme& scheme, const GemmHalf& kernel);

// rows x depth times depth x columns as a 1x1 convolution: an image of `rows` pixels in one column.
Geometry half_matrices(int64_t images, int64_t rows, int64_t depth, int64_t columns);

// What a product of parts of 16 bits does: the geometry's layer as a convolution, at the peak of its unit, whose rates none of
// the machines that estimates were compared on has. `values`: b is a value, packed at the start of every run.
Estimate half_estimate(const Geometry& g, const HalfForms& forms, bool in_place, bool values = false);

// Base of the routines: `factors` of the values are factors, in forms.in; the residual and y are in forms.out.
class HalfRoutine : public Routine, public Estimating {
 public:
  std::vector<std::string> variants(const Problem& p) const override {
    return half_variants(forms_.part, forms_.parts, epilogue_act(p));
  }
  Ports ports(const Problem& p) const override;

 protected:
  // ID = STEM[_from_f32 | _to_f32 | _in_f32]:f16|bf16[x2|x3]:LAYOUT:cpu; rank 4 lies in `layout`.
  HalfRoutine(const std::string& stem, Layout layout, Layout images, const HalfForms& forms);
  // half_kind of these forms, and whether there is a kernel of it for the problem.
  const char* kind() const { return half_kind(forms_.part); }
  Verdict has_kernel(const Problem& p) const;
  HalfForms forms_;

 private:
  Layout images_;
};

// Adds R(forms) for every form: bf16, bf16x2, bf16x3, f16, in f32 or not, and with `mixed` from and to f32 too.
template <class R>
void collect_half(Collector& c, bool mixed) {
  constexpr DType f32 = DType::f32, bf16 = DType::bf16, bf16x2 = DType::bf16x2, f16 = DType::f16;
  for (const HalfForms& forms :
       {HalfForms{2, bf16x2, bf16x2}, {2, f32, bf16x2}, {2, bf16x2, f32}, {2, f32, f32}, {1, bf16, bf16}, {1, f32, bf16},
        {1, bf16, f32}, {1, f32, f32}, {3, f32, f32}, {1, f16, f16, f16}, {1, f32, f16, f16}, {1, f16, f32, f16},
        {1, f32, f32, f16}})
    if (mixed || (forms.in == DType::f32) == (forms.out == DType::f32)) c.add<R>(forms);
}

}  // namespace pw
