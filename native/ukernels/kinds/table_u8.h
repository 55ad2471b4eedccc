// Any function of one u8: a table of its 256 values.
#pragma once
#include <cstdint>

namespace pw {

struct TableU8 {
  // y[i] = table[x[i]] for i < n; y may be x. `table`: 256 values, 64-byte aligned.
  void (*run)(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t n);
};
#define PW_KIND_TABLE_U8 "table_u8"

}  // namespace pw
