#include "types/format.h"

#include <iterator>

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
constexpr LayoutFacts kLayouts[] = {
#define PW_LAYOUT(name, rank, block, ...) {#name, rank, block, {__VA_ARGS__}},
#include "types/layouts.inc"
#undef PW_LAYOUT
};

}  // namespace

size_t size_of(DType dtype) { return kDTypes[static_cast<int>(dtype)].size; }

int64_t count(const Dims& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

const char* text(DType dtype) { return kDTypes[static_cast<int>(dtype)].name; }
const LayoutFacts& facts(Layout layout) { return kLayouts[static_cast<int>(layout)]; }
const char* text(Layout layout) { return facts(layout).name; }

std::string text(const Format& format) {
  return std::string(text(format.dtype)) + ":" + text(format.layout) + ":" + format.device;
}

DType parse_dtype(std::string_view word) {
  for (const auto& row : kDTypes)
    if (word == row.name) return row.dtype;
  throw Error("element type '" + std::string(word) + "': expected f32, f16, i8, ...");
}

Layout parse_layout(std::string_view word) {
  std::string names;
  for (size_t i = 0; i < std::size(kLayouts); ++i) {
    if (word == kLayouts[i].name) return static_cast<Layout>(i);
    names += std::string(i == 0 ? "" : ", ") + kLayouts[i].name;
  }
  throw Error("layout '" + std::string(word) + "': expected one of " + names);
}

Format parse_format(std::string_view word) {
  const auto parts = split(word, ':');
  if (parts.size() != 3 || parts[2].empty())
    throw Error("format '" + std::string(word) + "': expected DTYPE:LAYOUT:DEVICE");
  return {parse_dtype(parts[0]), parse_layout(parts[1]), std::string(parts[2])};
}

Layout plain_layout(size_t rank) {
  Layout others = Layout::plain;
  for (size_t i = 0; i < std::size(kLayouts); ++i) {
    if (!kLayouts[i].row_major()) continue;
    if (kLayouts[i].rank == static_cast<int>(rank)) return static_cast<Layout>(i);
    if (kLayouts[i].rank < 0) others = static_cast<Layout>(i);
  }
  return others;
}

bool of_rank(Layout layout, size_t rank) {
  const int wanted = facts(layout).rank;
  return wanted < 0 ? plain_layout(rank) == layout : wanted == static_cast<int>(rank);
}

bool fits(Layout layout, const Dims& shape) {
  const int block = facts(layout).block;
  return of_rank(layout, shape.size()) && (block == 0 || shape[1] % block == 0);
}

std::vector<MemoryDim> memory_dims(Layout layout, const Dims& shape) {
  const LayoutFacts& f = facts(layout);
  std::vector<MemoryDim> dims;
  dims.reserve(shape.size() + 1);
  for (size_t i = 0; i < shape.size(); ++i) {
    const int axis = f.row_major() ? static_cast<int>(i) : f.order[i];
    const int64_t size = shape[static_cast<size_t>(axis)];
    dims.push_back({f.block != 0 && axis == 1 ? size / f.block : size, axis});
  }
  if (f.block != 0) dims.push_back({f.block, 1});
  return dims;
}

Dims physical(Layout layout, const Dims& shape) {
  Dims sizes;
  for (const MemoryDim& d : memory_dims(layout, shape)) sizes.push_back(d.size);
  return sizes;
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
