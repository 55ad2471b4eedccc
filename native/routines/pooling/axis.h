// One axis of a pooling window, whatever the element type.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spi/problem.h"

namespace pw {

// One axis of the window. Output o covers taps [first(o), last(o)) of `kernel`.
struct WindowAxis {
  int64_t length, out, kernel, stride, pad, pad_end, dilation;
  int64_t start(int64_t o) const { return o * stride - pad; }
  int64_t first(int64_t o) const {
    const int64_t s = start(o);
    return s >= 0 ? 0 : std::min(kernel, (-s + dilation - 1) / dilation);
  }
  int64_t last(int64_t o) const {
    const int64_t room = length - start(o);
    return room <= 0 ? 0 : std::min(kernel, (room + dilation - 1) / dilation);
  }
  // Taps inside of the padded image.
  int64_t padded_count(int64_t o) const {
    const int64_t room = length + pad_end - start(o);
    return room <= 0 ? 0 : std::min(kernel, (room + dilation - 1) / dilation);
  }
  // True where output o sees the whole window.
  bool whole(int64_t o) const { return first(o) == 0 && last(o) == kernel; }
  // Outputs [inner_first, inner_last) see the whole window.
  int64_t inner_first() const { return std::min(out, (pad + stride - 1) / stride); }
  int64_t inner_last() const {
    const int64_t room = length + pad - (kernel - 1) * dilation - 1;
    return room < 0 ? inner_first() : std::max(inner_first(), std::min(out, room / stride + 1));
  }
};

// Axis of space number i of a pool.
inline WindowAxis window_axis(const Problem& p, size_t i) {
  const Dims &in = p.in[0].shape, &out = p.out[0].shape;
  const auto pad = p.integers("pad");
  return {in[2 + i],  out[2 + i],           p.integers("kernel")[i], p.integers("stride")[i],
          pad[i],     pad[i + in.size() - 2], p.integers("dilation")[i]};
}

}  // namespace pw
