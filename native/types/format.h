// Element types, layouts, shapes and formats of values.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pw {

// bf16x2 is a form of f32 values in memory, never the type of a value: each is hi + lo, both bf16, hi = bf16(x) and
// lo = bf16(x - hi), to the nearest, ties to even. In every row of the innermost dimension (the C channels of a pixel in
// nhwc, the last axis in plain) the row's C hi come first, then its C lo. So a pixel starts where its floats would and
// takes their bytes: batches, rows and windows are cut as those of f32 are, and a row of a matrix unit's tile is a run
// of one part of one pixel. Where hi is infinite or NaN, lo is 0: a lo is always finite. hi + lo is exact in f32.
enum class DType : uint8_t { f32, f64, f16, bf16, i8, u8, i16, u16, i32, u32, i64, u64, boolean, bf16x2 };

// The rows of the table of layouts, src/pathweave/net/layouts.py, which the build writes to types/layouts.inc.
enum class Layout : uint8_t {
#define PW_LAYOUT(name, rank, block, ...) name,
#include "types/layouts.inc"
#undef PW_LAYOUT
};

using Dims = std::vector<int64_t>;

// What the table says of a layout. Axis 1 holds the channels.
struct LayoutFacts {
  const char* name;
  int rank;   // of the values that it is for; -1: of every rank that no other row-major layout is for
  int block;  // 0, or the channels are cut into blocks of so many, the innermost dimension in memory
  std::array<int8_t, 8> order;  // the logical axis of every dimension in memory, outermost first; of `rank` axes
  // True where memory has the logical order.
  constexpr bool row_major() const {
    for (int8_t i = 0; i < rank; ++i)
      if (order[static_cast<size_t>(i)] != i) return false;
    return block == 0;
  }
};
const LayoutFacts& facts(Layout layout);

// A dimension as it lies in memory, with the logical one that it belongs to; channels in blocks have two.
struct MemoryDim {
  int64_t size;
  int logical;
};

struct Format {
  DType dtype = DType::f32;
  Layout layout = Layout::plain;
  std::string device = "cpu";
  bool operator==(const Format&) const = default;
};

size_t size_of(DType dtype);
int64_t count(const Dims& shape);

const char* text(DType dtype);
const char* text(Layout layout);
std::string text(const Format& format);  // f32:nhwc:cpu

DType parse_dtype(std::string_view text);    // throws Error
Layout parse_layout(std::string_view text);  // throws Error
Format parse_format(std::string_view text);  // throws Error

// The row-major layout of a rank: nchw for 4, else plain.
Layout plain_layout(size_t rank);

// True when a layout is for values of this rank.
bool of_rank(Layout layout, size_t rank);

// True when a value of this shape can lie in this layout.
bool fits(Layout layout, const Dims& shape);

// The dimensions as they lie in memory, outermost first (nchw16c: five of them), of a shape that fits. Row-major layouts
// take a shape of any rank.
std::vector<MemoryDim> memory_dims(Layout layout, const Dims& shape);
Dims physical(Layout layout, const Dims& shape);

std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace pw
