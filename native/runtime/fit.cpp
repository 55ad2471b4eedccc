#include "runtime/fit.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace pw {
namespace {

// Positions [first, last] of a block's start.
struct Range {
  int64_t first, last;
};

// Starts of `block` at which it would collide with `placed`, which starts at `offset`.
void collisions(const Block& block, const Block& placed, uint64_t offset, std::vector<Range>& out) {
  for (const Part& p : block.parts)
    for (const Part& q : placed.parts) {
      if (p.bytes == 0 || q.bytes == 0 || p.last < q.first || q.last < p.first) continue;
      const int64_t begin = static_cast<int64_t>(offset + q.at), end = begin + static_cast<int64_t>(q.bytes);
      out.push_back({begin - static_cast<int64_t>(p.at + p.bytes) + 1, end - static_cast<int64_t>(p.at) - 1});
    }
}

// The start in the tightest gap between forbidden ranges, or in the lowest one.
uint64_t choose(std::vector<Range>& forbidden, bool tightest) {
  const auto before = [](const Range& a, const Range& b) { return a.first < b.first; };
  if (!std::is_sorted(forbidden.begin(), forbidden.end(), before)) std::sort(forbidden.begin(), forbidden.end(), before);
  int64_t best = -1, slack = std::numeric_limits<int64_t>::max(), free = 0;
  for (const Range& r : forbidden) {
    if (r.last < free) continue;
    const int64_t start = static_cast<int64_t>(align64(static_cast<uint64_t>(free)));
    if (start < r.first && r.first - start < slack) best = start, slack = tightest ? r.first - start : 0;
    free = r.last + 1;
  }
  return best >= 0 ? static_cast<uint64_t>(best) : align64(static_cast<uint64_t>(free));
}

// A block that has its place, and the steps from the first to the last use of any part.
struct Placed {
  uint64_t offset;
  int first, last, block;
};

std::pair<int, int> life(const Block& block) {
  int first = std::numeric_limits<int>::max(), last = -1;
  for (const Part& p : block.parts) first = std::min(first, p.first), last = std::max(last, p.last);
  return {first, last};
}

std::vector<uint64_t> fit_in_order(const std::vector<Block>& blocks, const std::vector<int>& order, bool tightest,
                                   uint64_t& peak) {
  std::vector<uint64_t> offsets(blocks.size(), 0);
  std::vector<Placed> placed;  // by offset, so that what they forbid comes in order
  std::vector<Range> forbidden;
  peak = 0;
  for (int n : order) {
    const Block& block = blocks[n];
    const auto [first, last] = life(block);
    forbidden.clear();
    for (const Placed& p : placed)
      if (p.first <= last && first <= p.last) collisions(block, blocks[p.block], p.offset, forbidden);
    offsets[n] = choose(forbidden, tightest);
    peak = std::max(peak, align64(offsets[n] + block.extent));
    const auto at = std::upper_bound(placed.begin(), placed.end(), offsets[n],
                                     [](uint64_t offset, const Placed& p) { return offset < p.offset; });
    placed.insert(at, {offsets[n], first, last, n});
  }
  return offsets;
}

// Bytes times steps.
double volume(const Block& block) {
  double sum = 0;
  for (const Part& p : block.parts) sum += static_cast<double>(p.bytes) * (p.last - p.first + 1);
  return sum;
}

}  // namespace

std::vector<uint64_t> best_fit(const std::vector<Block>& blocks, uint64_t& peak) {
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> volumes;
  std::vector<int> begins;
  for (const Block& block : blocks) volumes.push_back(volume(block)), begins.push_back(life(block).first);

  std::vector<uint64_t> best;
  auto attempt = [&](auto&& before) {
    std::stable_sort(order.begin(), order.end(), before);
    for (bool tightest : {true, false}) {
      uint64_t height = 0;
      auto offsets = fit_in_order(blocks, order, tightest, height);
      if (best.empty() || height < peak) best = std::move(offsets), peak = height;
    }
  };
  peak = 0;
  attempt([&](int a, int b) { return begins[a] < begins[b]; });
  // Last sorts decide; earlier ones break their ties, so equal sizes go in the order of the steps.
  attempt([&](int a, int b) { return volumes[a] > volumes[b]; });
  attempt([&](int a, int b) { return blocks[a].extent > blocks[b].extent; });
  return best;
}

}  // namespace pw
