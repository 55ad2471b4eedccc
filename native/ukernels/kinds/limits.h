// What one processor can do at most, as loops to be timed: arithmetic of one unit, and reading memory.
#pragma once
#include <cstdint>

namespace pw {

// Independent multiply-adds in registers, more chains than the unit's latency needs. One unit, one file: a file
// ukernels/<isa>/peak_<dtype>.cpp in the folder of the instructions that it uses, and its rate is measured with the others.
struct Peak {
  const char* dtype;   // of the factors: f32, bf16, f16, i8
  int64_t operations;  // of one round, two per multiply-add
  // The result depends on all rounds. `one` and `zero` are those numbers, kept from the compiler.
  float (*run)(int64_t rounds, float one, float zero);
};
#define PW_KIND_PEAK "peak"

// Reads `bytes`, a multiple of 4096, from aligned memory, `times` times. The result depends on all that was read.
struct Read {
  uint32_t (*run)(const void* memory, int64_t bytes, int64_t times);
};
#define PW_KIND_READ "read"

}  // namespace pw
