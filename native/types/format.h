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

// plain: row-major in the logical order, any rank but 4. nchw: the same for rank 4. nhwc: channels last.
// nchw16c: N, C/16, H, W, 16; only where C is a multiple of 16, so that nothing is padded.
enum class Layout : uint8_t { plain, nchw, nhwc, nchw16c };

using Dims = std::vector<int64_t>;

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
inline Layout plain_layout(size_t rank) { return rank == 4 ? Layout::nchw : Layout::plain; }

// True when a value of this shape can lie in this layout.
bool fits(Layout layout, const Dims& shape);

// The dimensions as they lie in memory, outermost first (nchw16c: five of them), and the same for strides in
// elements per logical dimension where that is defined (not nchw16c).
Dims physical(Layout layout, const Dims& shape);

std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace pw
