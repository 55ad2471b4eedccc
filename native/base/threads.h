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
  static constexpr uint32_t kShares = 16;  // threads beyond that start in the same shares
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};
  uint32_t patience = 0;  // spins before a waiting thread offers its processor to others
  struct alignas(64) Ticket {
    std::atomic<int64_t> next{0};
  } tickets[kLoops][kShares];
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

  // Calls body(first, last) for pieces of n items. Every thread begins with its own share, always the same part of the
  // items, so that what one layer leaves in a core's caches is where the next layer wants it; who is done takes pieces
  // of the others. Every thread of the team must come here with the same n and grain; between two such loops there must
  // be a barrier (the end of a step is one).
  template <class Body>
  void each(int64_t n, int64_t grain, Body&& body) {
    if (count == 1) {
      for (int64_t i = 0; i < n; i += grain) body(i, std::min(n, i + grain));
      return;
    }
    const uint32_t shares = std::min(count, TeamShared::kShares);
    const int64_t pieces = (n + grain - 1) / grain;
    auto* tickets = shared->tickets[loop % TeamShared::kLoops];
    // Nobody can be four loops behind or ahead, so these are idle.
    shared->tickets[(loop + 4) % TeamShared::kLoops][index % shares].next.store(0, std::memory_order_relaxed);
    ++loop;
    for (uint32_t turn = 0; turn < shares; ++turn) {
      const uint32_t from = (index + turn) % shares;
      const int64_t first = pieces * from / shares, last = pieces * (from + 1) / shares;
      for (;;) {
        const int64_t i = first + tickets[from].next.fetch_add(1, std::memory_order_relaxed);
        if (i >= last) break;
        body(i * grain, std::min(n, (i + 1) * grain));
      }
    }
  }
};

// Runs body(team) on up to `threads` threads, the caller among them, and returns when all are done. Fewer threads take
// part when the pool is busy with other callers. `body` must not throw.
void parallel(int threads, const std::function<void(Team&)>& body);

// Splits [0, n) over the usable processors; for building, not for running.
void parallel_for(int64_t n, const std::function<void(int64_t first, int64_t last)>& body);

}  // namespace pw
