#include "products/sparse.h"

#include <cstring>

#include "base/error.h"
#include "spi/ukernel.h"

namespace pw {

SparseRows::SparseRows(const Constant& weights, int64_t outputs, int64_t depth, const std::string& signature,
                       const std::function<int32_t(int64_t, int64_t)>& offset) {
  const auto* w = weights.as<float>();
  const int64_t head = round_up(outputs * 4, 64);
  packed_ = shared_packing(weights.id, "spmm/" + signature, [&] {
    std::vector<int64_t> ends(static_cast<size_t>(outputs));
    parallel_for(outputs, [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o)
        for (int64_t k = 0; k < depth; ++k) ends[static_cast<size_t>(o)] += w[o * depth + k] != 0.0f;
    });
    for (size_t o = 1; o < ends.size(); ++o) ends[o] += ends[o - 1];
    Buffer packed(static_cast<size_t>(head) + static_cast<size_t>(ends.back()) * sizeof(SparseWeight));
    auto* counts = packed.as<int32_t>();
    auto* to = reinterpret_cast<SparseWeight*>(packed.as<char>() + head);
    parallel_for(outputs, [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o) {
        const int64_t start = o > 0 ? ends[static_cast<size_t>(o - 1)] : 0;
        counts[o] = static_cast<int32_t>(ends[static_cast<size_t>(o)] - start);
        SparseWeight* next = to + start;
        for (int64_t k = 0; k < depth; ++k)
          if (w[o * depth + k] != 0.0f) *next++ = {w[o * depth + k], offset(o, k)};
      }
    });
    return packed;
  });
  starts_.assign(1, 0);
  for (int64_t o = 0; o < outputs; ++o) starts_.push_back(starts_.back() + counts()[o]);
}

std::vector<std::string> spmm_variants(Act act) {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<SpmmF32>(PW_KIND_SPMM_F32, true, act)) names.push_back(name);
  return names;
}

const SpmmF32& spmm_kernel(const std::string& name) {
  if (const auto* body = ukernel<SpmmF32>(PW_KIND_SPMM_F32, name)) return *body;
  throw Error("micro-kernel '" + name + "' is not available on this machine");
}

PixelTiles::PixelTiles(int64_t lines, int64_t length, int64_t x_line, int64_t y_line, const SpmmF32& kernel) {
  const int64_t lanes = kernel.lanes, across = divide_up(length, lanes), all = lines * across;
  const int64_t wanted = divide_up(all, divide_up(all, kernel.vectors));
  valid = std::min(lanes, length);
  first.push_back(0);
  for (int64_t line = 0; line < lines; ++line)
    for (int64_t j = 0; j < across; ++j) {
      const int64_t pixel = std::max<int64_t>(0, std::min(j * lanes, length - lanes));
      const bool overlaps = pixel < j * lanes, overlapped = j + 2 == across && length % lanes != 0;
      const int64_t open = static_cast<int64_t>(x.size()) - first.back();
      if (open > 0 && !overlaps && open + (overlapped ? 2 : 1) > wanted) first.push_back(static_cast<int32_t>(x.size()));
      x.push_back(static_cast<int32_t>(line * x_line + pixel));
      y.push_back(static_cast<int32_t>(line * y_line + pixel));
    }
  first.push_back(static_cast<int32_t>(x.size()));
}

void SparseProduct::walk(int64_t index, const float* x, float* y, const float* residual,
                         float* scratch) const {
  constexpr int64_t kMost = 16;
  const float *from[kMost], *add[kMost];
  float* to[kMost];
  const EvenParts split(outputs, parts);
  const int64_t tile = index % tiles->tiles();
  const auto [output, count] = split[index / tiles->tiles()];
  const auto begin = static_cast<size_t>(tiles->first[static_cast<size_t>(tile)]);
  const auto end = static_cast<size_t>(tiles->first[static_cast<size_t>(tile + 1)]);
  const int64_t start = scratch ? tiles->x[begin] : 0;
  if (scratch) {
    const int64_t length = tiles->x[end - 1] + tiles->valid - start;
    for (int64_t c = 0; c < channels; ++c)
      std::memcpy(scratch + c * tile_row(), x + c * x_row + start, static_cast<size_t>(length) * 4);
    x = scratch;
  }
  for (size_t v = begin; v < end; ++v) {
    from[v - begin] = x + (tiles->x[v] - start);
    to[v - begin] = y + output * y_row + tiles->y[v];
    if (residual) add[v - begin] = residual + output * y_row + tiles->y[v];
  }
  const SpmmF32Args args{from, to, residual ? add : nullptr, weights->at(output), weights->counts() + output,
                         bias + output, count, y_row, static_cast<int64_t>(end - begin), tiles->valid, act};
  kernel->run(&args);
}

}  // namespace pw
