// What kernels that are `narrow` cannot multiply: the part of two neighbouring weights that goes beyond 128 in size. It is taken
// out of the weights before they are packed, and its products are added to the sums. Weights of a file are not bounded; those
// that are spread like random ones have one such pair in some hundred or thousand.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "products/integer.h"

namespace pw {

class Excess {
 public:
  Excess() = default;
  // Of `matrices` matrices [depth, columns] of bytes, which are s8 once `flip` is applied, in panels of `tile` columns.
  Excess(const uint8_t* b, int64_t matrices, int64_t depth, int64_t columns, int64_t tile, uint8_t flip)
      : pairs_(matrices * columns * (depth / 2)), panels_(static_cast<size_t>(matrices * divide_up(columns, tile))) {
    const int64_t per_matrix = divide_up(columns, tile);
    parallel_for(static_cast<int64_t>(panels_.size()), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t column = i % per_matrix * tile, width = std::min(tile, columns - column);
        const uint8_t* from = b + i / per_matrix * depth * columns + column;
        for (int64_t k = 0; k + 1 < depth; k += 2)
          for (int64_t n = 0; n < width; ++n) {
            const int32_t even = static_cast<int8_t>(from[k * columns + n] ^ flip);
            const int32_t odd = static_cast<int8_t>(from[(k + 1) * columns + n] ^ flip), sum = even + odd;
            if (sum >= -128 && sum <= 128) continue;
            // Both have the sign of their sum, so that either one can lose it all and stay s8.
            panels_[static_cast<size_t>(i)].push_back({k, static_cast<int32_t>(n), sum > 0 ? sum - 128 : sum + 128});
          }
      }
    });
    for (const auto& panel : panels_) count_ += static_cast<int64_t>(panel.size());
  }

  // Whether adding them costs more than a narrow kernel saves.
  bool many() const { return count_ > pairs_ / 256; }

  // From a packed panel: element (k, n) is byte k % 4 of word k / 4 of column n.
  void take_out(int64_t panel, int8_t* packed, int64_t tile) const {
    for (const Entry& e : panels_[static_cast<size_t>(panel)]) {
      int8_t& own = packed[(e.k / 4 * tile + e.column) * 4 + e.k % 4];
      own = static_cast<int8_t>(own - e.value);
    }
  }

  // To the sums of a panel's columns, of `count` rows of u8.
  void add(int64_t panel, const void* const* rows, int64_t count, int32_t* sums, int64_t row) const noexcept {
    for (const Entry& e : panels_[static_cast<size_t>(panel)])
      for (int64_t i = 0; i < count; ++i) {  // sums wrap around
        const auto more = static_cast<uint32_t>(static_cast<const uint8_t*>(rows[i])[e.k] * e.value);
        int32_t& sum = sums[i * row + e.column];
        sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + more);
      }
  }

 private:
  struct Entry {
    int64_t k;
    int32_t column, value;
  };
  int64_t pairs_ = 0, count_ = 0;
  std::vector<std::vector<Entry>> panels_;
};

}  // namespace pw
