// Best fit of blocks of memory whose parts live at different times.
#pragma once
#include <cstdint>
#include <vector>

namespace pw {

// A part of a block: bytes [at, at + bytes) are in use during steps [first, last].
struct Part {
  uint64_t at, bytes;
  int first, last;
};
struct Block {
  uint64_t extent;
  std::vector<Part> parts;
};

// Offsets of the blocks, multiples of 64, so that no two parts that are in use at the same step overlap. Blocks are
// taken one by one, each put into the tightest gap that holds it, the lowest of equally tight ones. Largest first is
// best as a rule; the order of the steps, the order of bytes times steps, and the lowest gap instead of the tightest
// are tried as well, and the lowest peak wins. `peak`: bytes up to the highest end, rounded up to 64.
std::vector<uint64_t> best_fit(const std::vector<Block>& blocks, uint64_t& peak);

inline uint64_t align64(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace pw
