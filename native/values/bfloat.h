// Rows of floats to f16 or to parts in bf16, and from the stored forms f16, bf16 and bf16x2 back (DType::bf16x2 says how
// that lies).
#pragma once
#include <cstdint>

#include "ukernels/kinds/convert.h"
#include "values/vector.h"

namespace pw {

class BfloatRows {
 public:
  // Rows of `row` elements, in one part (f16, bf16), two (bf16x2), or three in bf16, which are not widened again.
  BfloatRows(int64_t row, int parts, DType part = DType::bf16)
      : convert_(&best_ukernel<Convert>(std::string(PW_KIND_CONVERT) + text(part))),
        split_(&best_ukernel<SplitBf16>(PW_KIND_SPLIT_BF16)), row_(row), parts_(parts) {}

  // Elements of scratch that n rows may need.
  int64_t scratch(int64_t n) const { return parts_ > 1 && row_ < kShort ? parts_ * n * row_ : 0; }

  // The parts of n elements, part p of x[i] at y[p * step + i].
  void split(const float* x, uint16_t* y, int64_t step, int64_t n) const noexcept {
    if (parts_ == 1) convert_->narrow(x, y, n);
    else split_->split(x, y, step, parts_, n);
  }

  // n whole rows. Short ones are converted as one, and their parts moved side by side afterwards, or before.
  void narrow(const float* x, uint16_t* y, int64_t n, uint16_t* scratch) const noexcept {
    if (parts_ == 1) return convert_->narrow(x, y, n * row_);
    if (row_ >= kShort) {
      for (int64_t i = 0; i < n; ++i) split_->split(x + i * row_, y + parts_ * i * row_, row_, parts_, row_);
      return;
    }
    split_->split(x, scratch, n * row_, parts_, n * row_);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t part = 0; part < parts_; ++part, y += row_)
        for (int64_t c = 0; c < row_; ++c) y[c] = scratch[(part * n + i) * row_ + c];
  }
  void widen(const uint16_t* x, float* y, int64_t n, uint16_t* scratch) const noexcept {
    if (parts_ == 1) return convert_->widen(x, y, n * row_);
    if (row_ >= kShort) {
      for (int64_t i = 0; i < n; ++i) split_->join(x + 2 * i * row_, x + (2 * i + 1) * row_, y + i * row_, row_);
      return;
    }
    uint16_t* rest = scratch + n * row_;
    for (int64_t i = 0; i < n; ++i, x += 2 * row_)
      for (int64_t c = 0; c < row_; ++c) scratch[i * row_ + c] = x[c], rest[i * row_ + c] = x[row_ + c];
    split_->join(scratch, rest, y, n * row_);
  }

 private:
  static constexpr int64_t kShort = 64;
  const Convert* convert_;
  const SplitBf16* split_;
  int64_t row_;
  int parts_;
};

}  // namespace pw
