// One pool of threads per process; a Team is the threads that run one parallel region together, stage by stage.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/memory.h"
#include "base/stop.h"
#include "pathweave/plugin.h"

namespace pw {

class Stages;

// That a plan may ask for.
constexpr int kMostThreads = 1024;

// What the threads of a region share. Owned by the pool and never freed: a thread that was parked through the end of
// its region looks here first when it goes on.
struct alignas(64) TeamShared {
  static constexpr uint32_t kShares = 16;  // threads beyond that start in the same shares
  // A tag, and in the low kCount bits how many tickets were taken under it. Tags only grow while a region
  // runs; a word with a smaller tag counts as zero, so that nobody has to reset it between two loops.
  static constexpr uint32_t kCount = 24;
  struct alignas(64) Tagged {
    std::atomic<uint64_t> word{0};
  };

  alignas(64) std::atomic<uint64_t> region{0};  // who may enter: the number of the region that runs, 0 = nobody
  std::atomic<uint32_t> stage{0};
  uint32_t stop = 0;  // the last stage + 1
  std::atomic<bool> stopped{false};  // the caller wants no more of it: what is left is passed over
  Stages* stages = nullptr;
  alignas(64) std::atomic<int64_t> finished{0};  // tickets of this stage that are done
  Tagged tickets[kShares];
  // Meetings of all threads.
  alignas(64) std::atomic<uint32_t> arrived{0};
  std::atomic<uint32_t> meeting{0};
  TeamShared* next = nullptr;  // guarded by the pool
};

// One thread's view of its team. The C part comes first: plugins see only that.
struct Team : pw_team {
  TeamShared* shared = nullptr;
  Stop* stop = nullptr;  // of the thread that called

  // `patience`: spins before a waiting thread offers its processor to others.
  explicit Team(uint32_t index = 0, uint32_t count = 1, uint32_t patience = 0, TeamShared* shared = nullptr);

  // Waits for all threads of the team; only in stages to which everyone comes.
  void barrier();

  // This thread's part [first, last) of n items, in multiples of `grain`; only in stages to which everyone comes.
  std::pair<int64_t, int64_t> share(int64_t n, int64_t grain = 1) const {
    const int64_t blocks = (n + grain - 1) / grain;
    const int64_t first = blocks * index / count * grain, last = blocks * (index + 1) / count * grain;
    return {std::min(first, n), std::min(last, n)};
  }

  // The piece with which thread `index` of `count` begins a loop of n pieces; nothing where its share is empty, as some
  // shares are where there are fewer pieces than threads.
  static std::optional<int64_t> own_first(int64_t n, uint32_t index, uint32_t count) {
    const Shares shares(n, count);
    const uint32_t from = index % shares.count;
    const int64_t first = shares.first(from);
    return first < shares.first(from + 1) ? std::optional(first * shares.bundle) : std::nullopt;
  }

  // Calls body(first, last) for pieces of n items. Every thread begins with its own share, always the same part of the
  // items, so that what one layer leaves in a core's caches is where the next layer wants it; who is done takes pieces
  // of the others. Every thread that comes here must do so with the same n and grain. Several such loops may follow
  // each other (below 65,536 of them) where their pieces may run at the same time. Once the caller wants the region to
  // end, pieces are passed over.
  template <class Body>
  void each(int64_t n, int64_t grain, Body&& body) {
    if (count == 1) {
      for (int64_t i = 0; i < n && !ending(); i += grain) body(i, std::min(n, i + grain));
      return;
    }
    const int64_t all = (n + grain - 1) / grain;
    const Shares shares(all, count);
    for (uint32_t turn = 0; turn < shares.count; ++turn) {
      const uint32_t from = (index + turn) % shares.count;
      const int64_t first = shares.first(from), last = shares.first(from + 1);
      for (int64_t i; (i = take(from, last - first)) >= 0; ++done) {
        if (ending()) continue;
        const int64_t end = std::min(all, (first + i + 1) * shares.bundle);
        for (int64_t piece = (first + i) * shares.bundle; piece < end; ++piece)
          body(piece * grain, std::min(n, (piece + 1) * grain));
      }
    }
    pieces += shares.tickets;
    ++tag;
  }

 private:
  friend class Region;

  // How the pieces of a loop are divided among a team.
  struct Shares {
    uint32_t count;
    int64_t bundle, tickets;  // pieces per ticket, such that a share's tickets can be counted
    Shares(int64_t pieces, uint32_t threads)
        : count(std::min(threads, TeamShared::kShares)), bundle((pieces >> TeamShared::kCount) + 1),
          tickets((pieces + bundle - 1) / bundle) {}
    // The first ticket of a share: rounded up, so that what is only one piece is the first thread's.
    int64_t first(uint32_t share) const { return (tickets * share + count - 1) / count; }
  };

  bool ending() {
    if (stop && stop->due()) {
      if (!shared) return true;
      shared->stopped.store(true, std::memory_order_relaxed);
    }
    return shared && shared->stopped.load(std::memory_order_relaxed);
  }

  // The next ticket of a share's `n`; -1 when there is none left, or when the team is past this loop. A newer tag means
  // just that: nobody leaves a loop that has tickets left.
  int64_t take(uint32_t from, int64_t n) {
    std::atomic<uint64_t>& word = shared->tickets[from].word;
    uint64_t now = word.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t seen = now >> TeamShared::kCount, base = tag << TeamShared::kCount;
      const int64_t next = seen == tag ? static_cast<int64_t>(now - base) : 0;
      if (seen > tag || next >= n) return -1;
      if (word.compare_exchange_weak(now, base + static_cast<uint64_t>(next) + 1, std::memory_order_relaxed))
        return next;
    }
  }

  // Of the stage at work: tickets of all its loops, those that this thread did, and the tag of the next loop.
  int64_t pieces = 0, done = 0;
  uint64_t tag = 0;
  uint32_t meeting = 0, patience = 0;
};

// When a stage is over: with its last piece, whoever did it; when every thread was there; or when the first thread, who
// alone works in it, says so. Only in the second may a stage use Team::barrier and Team::share. In the first all work
// lies in bodies of Team::each: a thread that comes late runs what stands around them at any later time.
// `nobody`: this thread is late for a stage that is long over, and does nothing.
enum class Gather { pieces, everyone, first, nobody };

// What a region consists of: stages, run one after another by a team.
class Stages {
 public:
  virtual ~Stages() = default;
  // One thread's part of a stage.
  virtual Gather run(uint32_t stage, Team& team) noexcept = 0;
  // Called once per stage, when all its work is done and before any of the next begins, by the thread that ended it.
  // Gives the next stage, a later one.
  virtual uint32_t next(uint32_t stage) noexcept { return stage + 1; }
  // What thread `index` reads first behind this stage; it fetches that while it waits for the others. Called before `run`.
  virtual Memory ahead(uint32_t, uint32_t) const noexcept { return {}; }
};

// Runs stages [first, last) on up to `threads` threads, the caller among them, and returns when all is done: fewer
// threads take part when the pool is busy with other callers, and nobody waits for a thread that has no part of the
// work in its hands, except where a stage wants everyone. At most 2^24 stages. False when the caller's Stop (stop.h) ended
// it: what was left was passed over.
bool parallel(int threads, uint32_t first, uint32_t last, Stages& stages) noexcept;

// Runs stages as the threads of a team would if each did its own share of the pieces and nothing else: one after another,
// the last one first, on this thread. For tests, where who takes which piece must not depend on who is quick; not for
// stages to which everyone comes.
void apart(int threads, uint32_t first, uint32_t last, Stages& stages) noexcept;

// Runs body(team) once on every thread of such a team. `body` must not throw.
void parallel(int threads, const std::function<void(Team&)>& body);

// Splits [0, n) over the usable processors; for building, not for running. Throws Stopped when the caller's Stop ended it.
void parallel_for(int64_t n, const std::function<void(int64_t first, int64_t last)>& body);

}  // namespace pw
