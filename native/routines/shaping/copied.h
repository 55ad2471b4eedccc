// Moving elements as they are, where others rescale them in passing (ByteTable of values/vector_u8.h).
#pragma once
#include <cstdint>
#include <cstring>

namespace pw {

template <class T>
struct Copied {
  static constexpr bool nothing() { return true; }  // is done to an element
  static constexpr size_t bytes() { return 0; }
  void apply(const T* x, T* y, int64_t n) const {
    if (n == 1) *y = *x;
    else std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  }
};

}  // namespace pw
