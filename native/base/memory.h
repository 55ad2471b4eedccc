// Where some memory lies.
#pragma once
#include <cstdint>

namespace pw {

struct Memory {
  const void* data = nullptr;
  uint64_t bytes = 0;
};

}  // namespace pw
