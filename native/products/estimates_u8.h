// What products of integers do, in numbers: the estimates of the routines on bytes. Their operations are counted at the peak of
// the unit that multiplies bytes.
#pragma once
#include <string>

#include "products/geometry.h"
#include "spi/estimate.h"
#include "ukernels/kinds/gemm_u8.h"

namespace pw {

// A product of rows x (taps * depth) with (taps * depth) x columns bytes, `count` times, on tiles of a gemm_u8 micro-kernel.
struct ProductU8Sizes {
  int64_t rows, depth, columns, taps = 1, count = 1;
  bool even = true;  // rows lie at one distance from each other
  bool runs = false;  // rows are read where they lie, each in one run per tap
  // What becomes of sums: they stay, are requantised, or by way of a function that is neither a clamp nor hard_swish.
  enum class End { sums, clamped, function } end = End::sums;
};
ProductU8Sizes::End end_of(Act act);
Estimate& add_product(Estimate& estimate, const ProductU8Sizes& sizes, const GemmU8& kernel);

// Of a product by the name of its micro-kernel, the part of a variant before the first slash.
Estimate product_u8_estimate(const ProductU8Sizes& sizes, const std::string& variant);
// Of rows against columns x depth weights of a byte each, read where they lie.
Estimate gemv_u8_estimate(int64_t rows, int64_t depth, int64_t columns, ProductU8Sizes::End end);

// Operations at the peak of bytes in whose time rows of floats become bytes by a scale that each finds, and sums become floats.
double narrowed(int64_t rows, int64_t depth);
double widened(int64_t count);

}  // namespace pw
