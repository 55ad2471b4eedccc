// What products do, in numbers: the estimates of the routines that multiply matrices.
#pragma once
#include <string>

#include "products/geometry.h"
#include "spi/estimate.h"

namespace pw {

// A product of rows x depth with depth x columns, `count` times, on tiles of a gemm micro-kernel. `taps`: parts of the depth
// that are pointed to one by one. `looked_up`: in a table.
struct ProductSizes {
  double rows, depth, columns;
  double taps = 1, count = 1;
  bool looked_up = false;
};
Estimate& add_product(Estimate& estimate, const ProductSizes& sizes, const GemmF32& kernel);

// The same for one by the name of its micro-kernel, the part of a variant before the first slash; nothing for another name.
Estimate product_estimate(const ProductSizes& sizes, const std::string& variant);
// Of a convolution that multiplies each pixel's taps by all weights.
Estimate convolution_estimate(const Geometry& g, const std::string& variant, double taps, bool looked_up = false);

// `bytes` of A, which lie in `room` bytes, are read again for every block of the `b` bytes of B that stays in L2.
void read_again(Estimate& e, double bytes, double room, double b);

// Operations that the activation of an epilogue takes per element where it is more than a clip.
double activation_work(const Problem& p);

}  // namespace pw
