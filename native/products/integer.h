// What products of integers of 8 bits share: B packed for gemm_u8, zero points as terms of columns and rows, the end of sums.
//
// With a' = a as u8 (a s8 value plus 128) and b' = b as s8 (a u8 value less 128), and the zero points moved alike, a sum over K
// terms is, exactly and in 32 bits that wrap around,
//   sum (a - za) * (b - zb)  =  sum a' * b'  -  za' * (sum b' - K * zb')  -  zb' * sum a'.
// The second term belongs to a column, or to a column and a row where rows have zero points of their own; the third to both.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "products/matrix_u8.h"
#include "ukernels/kinds/linear.h"
#include "values/strided.h"

namespace pw {

inline bool is_signed(DType dtype) { return dtype == DType::i8; }
// A zero point, moved as its elements are.
inline int32_t moved_point(const void* points, DType dtype, int64_t i, bool as_signed) {
  const int32_t own = is_signed(dtype) ? static_cast<const int8_t*>(points)[i] : static_cast<const uint8_t*>(points)[i];
  return own + (as_signed ? (is_signed(dtype) ? 0 : -128) : (is_signed(dtype) ? 128 : 0));
}

// How many words, of `group` elements each, rows of `depth` elements take for a kernel, and in what steps it reads them.
struct WordsU8 {
  int64_t words, step;
  // A row without elements is one word, of zeros.
  WordsU8(const GemmU8& kernel, int64_t depth) : words(std::max<int64_t>(1, divide_up(depth, kernel.group))), step(1) {
    if (kernel.most_step > 1) {
      const int64_t fewest = divide_up(words, kernel.most_step);
      step = divide_up(words, fewest);
      words = fewest * step;
    }
  }
};

// Columns [first, first + width) of B into one panel of `tile` columns, of which word `to + k / group` holds rows k; element
// (k, n) lies at b[k * row + n * column]. Adds the sums of the columns to `sums`. The panel is zero so far.
template <int group>
void pack_integers(const uint8_t* b, int64_t depth, int64_t row, int64_t column, int64_t width, int64_t tile, uint8_t flip,
                   void* panel, int32_t* sums) {
  using Element = std::conditional_t<group == 2, int16_t, int8_t>;
  auto* to = static_cast<Element*>(panel);
  for (int64_t k = 0; k < depth; ++k) {
    Element* own = to + k / group * tile * group + k % group;
    const uint8_t* from = b + k * row;
    for (int64_t n = 0; n < width; ++n) {
      const auto value = static_cast<int8_t>(from[n * column] ^ flip);
      own[n * group] = value;
      sums[n] += value;
    }
  }
}

// n elements of a row as kernels read it, the rest of `words` zeros; gives their sum. `flip`: 128 where they are s8.
inline int32_t stage_integers(const uint8_t* x, int64_t n, uint8_t flip, int group, int64_t words, void* to) {
  int32_t sum = 0;
  if (group == 2) {
    auto* y = static_cast<int16_t*>(to);
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<uint8_t>(x[i] ^ flip);
    for (int64_t i = n; i < 2 * words; ++i) y[i] = 0;
  } else {
    auto* y = static_cast<uint8_t*>(to);
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] ^ flip;
    for (int64_t i = n; i < 4 * words; ++i) y[i] = 0;
  }
  for (int64_t i = 0; i < n; ++i) sum += static_cast<uint8_t>(x[i] ^ flip);
  return sum;
}

// What becomes of sums: the attribute dtype, and the scale and zero point of a run.
struct SumsEnd {
  DType dtype;
  int32_t low = 0, high = 0;
  explicit SumsEnd(DType dtype) : dtype(dtype) {
    if (dtype == DType::u8) high = 255;
    if (dtype == DType::i8) low = -128, high = 127;
  }
  bool bytes() const { return dtype == DType::u8 || dtype == DType::i8; }
  int64_t width() const { return bytes() ? 1 : 4; }
  int32_t zero(const void* point) const {
    if (!point) return 0;
    return dtype == DType::i8 ? *static_cast<const int8_t*>(point) : *static_cast<const uint8_t*>(point);
  }
};

// The kernels that take any bytes: vectors, and tiles where `tiles`.
inline std::vector<std::string> integer_variants(bool tiles) {
  std::vector<std::string> names;
  for (const std::string& name : gemm_u8_variants(Act::clip, SecondOperand::value))
    if (tiles || gemm_u8_kernel(name).most_step == 1) names.push_back(name);
  return names;
}

}  // namespace pw
