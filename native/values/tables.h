// Tables of offsets that kernels make when they are prepared: none may be out of proportion to the values that it serves.
#pragma once
#include <cstdint>
#include <string>

#include "base/size.h"
#include "spi/routine.h"

namespace pw {

// A table may have this many bytes in any case, or kTableShare times the bytes of the problem's values.
constexpr int64_t kFreeTable = int64_t{64} << 20, kTableShare = 4;

// Declines a problem for which a table of `entries` of `size` bytes each is too large. For `accepts`: nothing is made yet.
inline Verdict fits_table(const Problem& p, int64_t entries, int64_t size) {
  const int64_t bytes = saturated(entries, size);
  if (bytes <= kFreeTable || bytes / kTableShare <= p.bytes()) return Verdict::ok();
  return Verdict::no("its table of offsets would take " + std::to_string(bytes) + " bytes, more than " +
                     std::to_string(kTableShare) + " times its values");
}

}  // namespace pw
