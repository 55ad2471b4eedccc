// One pool of threads per process; a Team is the threads that run one parallel region together.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "pathweave/plugin.h"

namespace pw {

struct alignas(64) TeamShared {
  static constexpr int kLoops = 8;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};
  struct alignas(64) Ticket {
    std::atomic<int64_t> next{0};
  } tickets[kLoops];
};

// One thread's view of its team. The C part comes first: plugins see only that.
struct Team : pw_team {
  TeamShared* shared = nullptr;
  uint32_t loop = 0;

  Team(uint32_t index, uint32_t count, TeamShared* shared);

  // Waits for all threads of the team.
  void barrier();

  // This thread's part [first, last) of n items, in multiples of `grain`.
  std::pair<int64_t, int64_t> share(int64_t n, int64_t grain = 1) const {
    const int64_t blocks = (n + grain - 1) / grain;
    const int64_t first = blocks * index / count * grain, last = blocks * (index + 1) / count * grain;
    return {std::min(first, n), std::min(last, n)};
  }

  // Calls body(first, last) for pieces of n items that the threads take in turn. Every thread of the team must come
  // here with the same n and grain; between two such loops there must be a barrier (the end of a step is one).
  template <class Body>
  void each(int64_t n, int64_t grain, Body&& body) {
    if (count == 1) {
      for (int64_t i = 0; i < n; i += grain) body(i, std::min(n, i + grain));
      return;
    }
    auto& ticket = shared->tickets[loop % TeamShared::kLoops].next;
    // Nobody can be four loops behind or ahead, so this slot is idle.
    shared->tickets[(loop + 4) % TeamShared::kLoops].next.store(0, std::memory_order_relaxed);
    ++loop;
    for (;;) {
      const int64_t i = ticket.fetch_add(grain, std::memory_order_relaxed);
      if (i >= n) return;
      body(i, std::min(n, i + grain));
    }
  }
};

// Runs body(team) on up to `threads` threads, the caller among them, and returns when all are done. Fewer threads take
// part when the pool is busy with other callers. `body` must not throw.
void parallel(int threads, const std::function<void(Team&)>& body);

// Splits [0, n) over the usable processors; for building, not for running.
void parallel_for(int64_t n, const std::function<void(int64_t first, int64_t last)>& body);

}  // namespace pw
