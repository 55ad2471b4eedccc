#include "products/matrix_u8.h"

#include <cstring>

namespace pw {

std::vector<std::string> gemm_u8_variants(Act act, SecondOperand b) {
  std::vector<std::string> names;
  std::string tiers[2];  // that have given kernels with vectors, with tiles
  int32_t group = 0;
  for (const auto& [name, body] : ukernels_of<GemmU8>(PW_KIND_GEMM_U8, false, act)) {
    if (body->narrow && b == SecondOperand::value) continue;
    std::string& tier = tiers[body->most_step > 1];
    const std::string its = name.substr(name.find("__"));
    // Tiers that multiply bytes have kernels for pairs beside them, for sums of wider numbers.
    group = std::max(group, body->group);
    if (body->group != group || !(tier.empty() || tier == its)) continue;
    tier = its;
    names.push_back(name);
  }
  return names;
}

const GemmU8& gemm_u8_kernel(const std::string& name) {
  if (const auto* body = ukernel<GemmU8>(PW_KIND_GEMM_U8, name)) return *body;
  throw Error("micro-kernel '" + name + "' is not available on this machine");
}

namespace {

// One panel, zeros so far: words of `group` neighbouring elements of a column, held as `Element`.
template <int64_t group, class Element>
void pack_panel(const float* source, int64_t width, int64_t inputs, int64_t taps, int64_t tile, const Runs& runs,
                Element* panel, float* scales, int32_t* sums) {
  const int64_t depth = inputs * taps;
  for (int64_t c = 0; c < width; ++c) {
    const float* w = source + c * depth;
    const float scale = product_scale(depth, [&](int64_t k) { return w[k % inputs * taps + k / inputs]; });
    int32_t sum = 0;
    int64_t k = 0;
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t i = 0; i < inputs; ++i, ++k) {
        const int32_t q = quantised_weight(w[i * taps + t], scale);
        const int64_t at = runs.at(k);
        panel[(at / group * tile + c) * group + at % group] = static_cast<Element>(q);
        sum += q;
      }
    scales[c] = scale;
    sums[c] = sum;
  }
}

}  // namespace

RowsOfWords::RowsOfWords(const GemmU8& kernel, int64_t taps, int64_t depth, bool even)
    : staged(kernel.group == 2 || depth % kernel.group != 0), words(divide_up(taps * depth, kernel.group)), step(1) {
  if (kernel.most_step > 1) {
    // Steps that divide a row read it where it lies; otherwise as few as there can be, the last one filled with zeros.
    const int64_t fewest = divide_up(words, kernel.most_step);
    int64_t steps = fewest;
    while (4 * steps <= 5 * fewest && words % steps != 0) ++steps;
    staged = staged || !even || words % steps != 0;
    step = divide_up(words, staged ? fewest : steps);
    words = round_up(words, step);
  }
}

ProductU8::ProductU8(const GemmU8& kernel, int64_t rows, int64_t columns, int64_t taps, int64_t depth, int64_t c_row,
                     const RequantU8& out, bool even, int threads)
    : kernel(&kernel), rows(rows), columns(columns), taps(taps), depth(depth), c_row(c_row), line(rows), out(out) {
  const RowsOfWords as(kernel, taps, depth, even);
  staged = as.staged, words = as.words, step = as.step;
  blocking = block(row_tiles(), panels(), words * kernel.columns * 4, kernel.rows * taps * depth, threads);
}

ProductU8::ProductU8(const GemmU8& kernel, int64_t rows, int64_t line, int64_t columns, int64_t taps, int64_t steps,
                     int64_t step, const RequantU8& out, int threads)
    : kernel(&kernel), rows(rows), columns(columns), taps(taps), depth(steps * step * kernel.group),
      words(taps * steps * step), step(step), c_row(columns), line(line), out(out) {
  blocking = block(row_tiles(), panels(), words * kernel.columns * 4, kernel.rows * taps * depth, threads);
}

WeightsU8::WeightsU8(const Constant& weights, const float* bias, int64_t first, int64_t outputs, int64_t inputs,
                     int64_t taps, const ProductU8& product, Scale in, Runs runs)
    : tile_(product.kernel->columns), padded_(round_up(outputs, tile_)), words_(product.words) {
  const int64_t group = product.kernel->group, panels = padded_ / tile_, panel_bytes = words_ * tile_ * 4;
  std::string key = "u8";
  for (const int64_t part : {group, first, outputs, taps, tile_, words_, runs.length, runs.apart})
    key += "/" + std::to_string(part);
  packed_ = shared_packing(weights.id, key, [&] {
    Buffer packed(static_cast<size_t>(panels * panel_bytes + padded_ * 8));
    std::memset(packed.as<char>(), 0, packed.bytes());
    float* scales = reinterpret_cast<float*>(packed.as<char>() + panels * panel_bytes);
    int32_t* sums = reinterpret_cast<int32_t*>(scales + padded_);
    parallel_for(panels, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const float* source = weights.as<float>() + (first + p * tile_) * inputs * taps;
        const int64_t width = std::min(tile_, outputs - p * tile_), at = p * tile_;
        char* panel = packed.as<char>() + p * panel_bytes;
        if (group == 2)
          pack_panel<2>(source, width, inputs, taps, tile_, runs, reinterpret_cast<int16_t*>(panel), scales + at, sums + at);
        else
          pack_panel<4>(source, width, inputs, taps, tile_, runs, reinterpret_cast<int8_t*>(panel), scales + at, sums + at);
      }
    });
    return packed;
  });
  const float* scales = reinterpret_cast<const float*>(packed_->as<char>() + panels * panel_bytes);
  const int32_t* sums = reinterpret_cast<const int32_t*>(scales + padded_);
  columns_ = Buffer(static_cast<size_t>(padded_ * 12));
  auto* starts = columns_.as<int32_t>();
  auto* factors = columns_.as<float>() + padded_;
  for (int64_t c = 0; c < padded_; ++c) {
    starts[c] = -in.zero * sums[c];
    factors[c] = in.scale * scales[c];
    factors[padded_ + c] = bias && c < outputs ? bias[first + c] : 0.0f;
    most_ = std::max(most_, factors[c] * 255 * 127 * static_cast<float>(inputs * taps) + std::abs(factors[padded_ + c]));
  }
}

}  // namespace pw
