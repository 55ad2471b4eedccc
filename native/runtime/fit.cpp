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
  std::sort(forbidden.begin(), forbidden.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  int64_t best = -1, slack = std::numeric_limits<int64_t>::max(), free = 0;
  for (const Range& r : forbidden) {
    if (r.last < free) continue;
    const int64_t start = static_cast<int64_t>(align64(static_cast<uint64_t>(free)));
    if (start < r.first && r.first - start < slack) best = start, slack = tightest ? r.first - start : 0;
    free = r.last + 1;
  }
  return best >= 0 ? static_cast<uint64_t>(best) : align64(static_cast<uint64_t>(free));
}

std::vector<uint64_t> fit_in_order(const std::vector<Block>& blocks, const std::vector<int>& order, bool tightest,
                                   uint64_t& peak) {
  std::vector<uint64_t> offsets(blocks.size(), 0);
  std::vector<Range> forbidden;
  peak = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    const Block& block = blocks[order[n]];
    forbidden.clear();
    for (size_t m = 0; m < n; ++m) collisions(block, blocks[order[m]], offsets[order[m]], forbidden);
    offsets[order[n]] = choose(forbidden, tightest);
    peak = std::max(peak, align64(offsets[order[n]] + block.extent));
  }
  return offsets;
}

// Bytes times steps.
double volume(const Block& block) {
  double sum = 0;
  for (const Part& p : block.parts) sum += static_cast<double>(p.bytes) * (p.last - p.first + 1);
  return sum;
}

int first_step(const Block& block) {
  int first = std::numeric_limits<int>::max();
  for (const Part& p : block.parts) first = std::min(first, p.first);
  return first;
}

}  // namespace

std::vector<uint64_t> best_fit(const std::vector<Block>& blocks, uint64_t& peak) {
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> volumes;
  std::vector<int> begins;
  for (const Block& block : blocks) volumes.push_back(volume(block)), begins.push_back(first_step(block));

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
