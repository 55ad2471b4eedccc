// Every micro-kernel of one source file of kind gemm_u8 against integer loops: tails, extreme values, sums that wrap
// around. PW_SOURCE names the file. Prints what differs; exit code 1 then.
#define PW_UKERNELS kernels_under_test
#include PW_SOURCE

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

using pw::GemmU8;
using pw::GemmU8Args;

// Elements of A and B as the kernel takes them, and their values.
struct Operand {
  std::vector<uint8_t> bytes;
  std::vector<int32_t> values;
};

constexpr int kMostColumns = 3 * 96;  // three panels

int32_t pick(std::mt19937& rng, int kind, int32_t low, int32_t high) {
  if (kind == 0) return low + static_cast<int32_t>(rng() % static_cast<uint32_t>(high - low + 1));
  if (kind == 1) return rng() % 2 ? low : high;
  return kind == 2 ? high : low;  // all at one end
}

void put(uint8_t* to, int group, int32_t value) {
  if (group == 4) *to = static_cast<uint8_t>(value);
  else std::memcpy(to, &value, 2);
}

int check(const GemmU8& k, const char* name, std::mt19937& rng, int64_t rows, int64_t columns, int64_t taps, int64_t depth,
          int kind) {
  const bool tiles = k.most_step > 1;
  const int64_t size = 4 / k.group, words = (depth + k.group - 1) / k.group;
  const int64_t steps = tiles ? (words + k.most_step - 1) / k.most_step : 1, step = tiles ? (words + steps - 1) / steps : 1;
  const int64_t run = tiles ? steps * step : words, row_bytes = run * 4 + 64;
  // Halves of a tile that do not overlap may lie apart.
  const int64_t tile_rows = rows < k.rows && rng() % 2 ? rows + 1 : rows, half = (tile_rows + 1) / 2;
  const int64_t gap = tiles && rows == 2 * half && rng() % 2 ? 3 * row_bytes + 5 : 0;
  const auto place = [&](int64_t t, int64_t i) { return t * (rows * row_bytes + gap) + i * row_bytes + (i >= half ? gap : 0); };
  const int64_t panels = (columns + k.columns - 1) / k.columns, width = panels * k.columns;
  const int64_t panel_bytes = taps * run * k.columns * 4;
  // 16 bits of any size where the kernel takes words.
  const int32_t a_low = k.group == 4 ? 0 : -32768, a_high = k.group == 4 ? 255 : 32767;
  const int32_t b_low = k.group == 4 ? -128 : -32768, b_high = k.group == 4 ? 127 : 32767;
  std::vector<uint8_t> a(static_cast<size_t>(taps * (rows * row_bytes + gap))), b(static_cast<size_t>(panels * panel_bytes + 64));
  std::vector<int64_t> x(static_cast<size_t>(taps * rows * depth)), w(static_cast<size_t>(taps * depth * width));
  auto* packed = b.data() + (64 - reinterpret_cast<uintptr_t>(b.data()) % 64) % 64;
  std::vector<const void*> pointers(static_cast<size_t>(taps * k.rows));
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t i = 0; i < k.rows; ++i)
      pointers[t * k.rows + i] = a.data() + place(t, std::min(i, rows - 1));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < depth; ++d) {
        const int32_t v = pick(rng, kind, a_low, a_high);
        x[(t * rows + i) * depth + d] = v;
        put(a.data() + place(t, i) + d * size, k.group, v);
      }
    for (int64_t d = 0; d < depth; ++d)
      for (int64_t c = 0; c < columns; ++c) {
        int32_t v = pick(rng, kind == 3 ? 2 : kind, b_low, b_high);
        if (k.narrow) {
          // With its neighbour at most 128 in size, often just that.
          const int64_t before = d % 2 ? w[(t * depth + d - 1) * width + c] : 0;
          v = static_cast<int32_t>(std::clamp<int64_t>(v, std::max<int64_t>(-127, -128 - before), std::min<int64_t>(127, 128 - before)));
        }
        w[(t * depth + d) * width + c] = v;
        const int64_t word = (t * run + d / k.group) * k.columns + c % k.columns;
        put(packed + c / k.columns * panel_bytes + word * 4 + d % k.group * size, k.group, v);
      }
  }
  alignas(64) int32_t start[kMostColumns];
  alignas(64) float scale[kMostColumns], bias[kMostColumns];
  for (int c = 0; c < kMostColumns; ++c) {
    start[c] = static_cast<int32_t>(rng());
    scale[c] = std::ldexp(1.0f, -static_cast<int>(rng() % 8) - 20);
    bias[c] = static_cast<float>(rng() % 7);
  }
  std::vector<uint32_t> sums(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < columns; ++c) {
      uint64_t sum = static_cast<uint64_t>(static_cast<int64_t>(start[c]));
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t d = 0; d < depth; ++d)
          sum += static_cast<uint64_t>(x[(t * rows + i) * depth + d] * w[(t * depth + d) * width + c]);
      sums[i * columns + c] = static_cast<uint32_t>(sum);
    }
  GemmU8Args g{};
  g.a = pointers.data(), g.b = packed, g.start = start, g.scale = scale, g.bias = bias;
  g.taps = taps, g.words = run, g.step = step, g.rows = rows, g.columns = columns;
  g.tile_rows = tile_rows;
  std::vector<int32_t> raw(static_cast<size_t>(rows * width + 1), 77);
  std::vector<uint8_t> c(static_cast<size_t>(rows * (columns + 3)), 0x55);
  std::vector<int32_t> exact = raw;
  int wrong = 0;
  if (k.open) k.open(g.tile_rows, step);
  g.sums = raw.data(), g.c_row = width;
  k.run(&g);
  g.sums = nullptr, g.c = c.data(), g.c_row = columns + 3;
  g.out = {0.25f, -7.0f, 248.0f, 7, 0.0f, 0, {}};
  g.out.act.act = pw::Act::clip;
  k.run(&g);
  if (k.close) k.close();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const auto sum = static_cast<int32_t>(sums[i * columns + j]);
      wrong += raw[i * width + j] != sum;
      const float y = std::fma(static_cast<float>(sum), scale[j], bias[j]) * 0.25f;
      wrong += c[i * (columns + 3) + j] != static_cast<int>(std::nearbyint(std::fmin(std::fmax(y, -7.0f), 248.0f))) + 7;
    }
    for (int64_t j = columns; j < columns + 3; ++j) wrong += c[i * (columns + 3) + j] != 0x55;
  }
  wrong += raw.back() != 77;
  if (wrong)
    std::printf("%s: %d wrong at %dx%d, %d taps of %d, kind %d\n", name, wrong, static_cast<int>(rows),
                static_cast<int>(columns), static_cast<int>(taps), static_cast<int>(depth), kind);
  return wrong;
}

}  // namespace

int main() {
#if !defined(PW_EMULATED)
  syscall(SYS_arch_prctl, 0x1023, 18);  // tile registers, where there are any
#endif
  std::mt19937 rng(11);
  int wrong = 0, checks = 0;
  for (const pw::UKernel* entry = pw::kernels_under_test; entry->kind; ++entry) {
    const auto& k = *static_cast<const GemmU8*>(entry->body);
    for (int64_t rows = 1; rows <= k.rows; ++rows)
      for (int64_t depth : {1, 2, 3, 4, 7, 31, 64, 65, 129})
        for (int kind = 0; kind < 4; ++kind, ++checks) {
          const int64_t last = rng() % 2 ? k.columns : 1 + static_cast<int64_t>(rng() % k.columns);
          const int64_t columns = static_cast<int64_t>(rng() % 3) * k.columns + last;
          const int64_t taps = depth % k.group ? 1 : 1 + static_cast<int64_t>(rng() % 3);
          wrong += check(k, entry->name, rng, rows, columns, taps, depth, kind);
        }
  }
  std::printf("%d checks\n", checks);
  return wrong != 0 || checks == 0;
}
