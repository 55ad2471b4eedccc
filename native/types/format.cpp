#include "types/format.h"

#include "base/error.h"

namespace pw {
namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  size_t size;
};
constexpr DTypeRow kDTypes[] = {
    {DType::f32, "f32", 4}, {DType::f64, "f64", 8}, {DType::f16, "f16", 2}, {DType::bf16, "bf16", 2},
    {DType::i8, "i8", 1},   {DType::u8, "u8", 1},   {DType::i16, "i16", 2}, {DType::u16, "u16", 2},
    {DType::i32, "i32", 4}, {DType::u32, "u32", 4}, {DType::i64, "i64", 8}, {DType::u64, "u64", 8},
    {DType::boolean, "bool", 1}, {DType::bf16x2, "bf16x2", 4}};
constexpr const char* kLayouts[] = {"plain", "nchw", "nhwc", "nchw16c"};

}  // namespace

size_t size_of(DType dtype) { return kDTypes[static_cast<int>(dtype)].size; }

int64_t count(const Dims& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

const char* text(DType dtype) { return kDTypes[static_cast<int>(dtype)].name; }
const char* text(Layout layout) { return kLayouts[static_cast<int>(layout)]; }

std::string text(const Format& format) {
  return std::string(text(format.dtype)) + ":" + text(format.layout) + ":" + format.device;
}

DType parse_dtype(std::string_view word) {
  for (const auto& row : kDTypes)
    if (word == row.name) return row.dtype;
  throw Error("element type '" + std::string(word) + "': expected f32, f16, i8, ...");
}

Layout parse_layout(std::string_view word) {
  for (int i = 0; i < 4; ++i)
    if (word == kLayouts[i]) return static_cast<Layout>(i);
  throw Error("layout '" + std::string(word) + "': expected plain, nchw, nhwc or nchw16c");
}

Format parse_format(std::string_view word) {
  const auto parts = split(word, ':');
  if (parts.size() != 3 || parts[2].empty())
    throw Error("format '" + std::string(word) + "': expected DTYPE:LAYOUT:DEVICE");
  return {parse_dtype(parts[0]), parse_layout(parts[1]), std::string(parts[2])};
}

bool fits(Layout layout, const Dims& shape) {
  if (layout == Layout::plain) return shape.size() != 4;
  return shape.size() == 4 && (layout != Layout::nchw16c || shape[1] % 16 == 0);
}

Dims physical(Layout layout, const Dims& s) {
  switch (layout) {
    case Layout::nhwc: return {s[0], s[2], s[3], s[1]};
    case Layout::nchw16c: return {s[0], s[1] / 16, s[2], s[3], 16};
    default: return s;
  }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t start = 0;;) {
    const size_t end = text.find(separator, start);
    parts.push_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

}  // namespace pw
