// Where some memory lies, and where the library's own comes from.
#pragma once
#include <cstdint>

namespace pw {

struct Memory {
  const void* data = nullptr;
  uint64_t bytes = 0;
  bool within(const Memory& other) const {
    const auto first = reinterpret_cast<uintptr_t>(data), from = reinterpret_cast<uintptr_t>(other.data);
    return first >= from && first - from <= other.bytes && bytes <= other.bytes - (first - from);
  }
};

// 64-byte aligned, uninitialised; large pieces ask for huge pages. Null where there is none.
void* allocate(uint64_t bytes) noexcept;
void release(void* data) noexcept;

// For tests. While the fence is up, a page that nobody may touch lies behind all that is allocated (up to its last cache
// line), it holds huge numbers, and `fenced` knows it until it is released.
void raise_fence(bool up) noexcept;
// Whether memory lies within one such piece.
bool fenced(const Memory& memory);

}  // namespace pw
