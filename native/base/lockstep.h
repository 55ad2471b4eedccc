// Threads that go through steps together, each of the same shares of work: a step begins when all shares of the one before are
// done. For pieces of one loop of Team::each, a piece for each share, where a step is too short to be a stage of its own.
#pragma once
#include <sched.h>

#include <atomic>
#include <cstdint>

#include "base/cpu.h"

namespace pw {

// What is known of one share, in memory that all threads see. One writes lines of its own.
struct LockstepShare {
  alignas(64) std::atomic<int64_t> taken;  // steps of it that somebody has begun
  alignas(64) std::atomic<int64_t> done;   // and that are done
  // Before any thread walks.
  void reset() {
    taken.store(0, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
  }
};
constexpr int64_t kMostLockstep = 64;  // shares

// How a thread waits for another: that many pauses before it offers its processor to others.
struct Patience {
  uint32_t turns;
  // Where each of so many threads has a processor of its own, giving that away takes longer than most waits do.
  explicit Patience(int threads) : turns(threads <= usable_processors() ? 4000 : 50) {}
  void wait(uint32_t turn) const {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (turn > turns) sched_yield();
  }
};

// Calls body(step, share) for steps [0, steps) of `count` shares; done when all are. Whoever walks with `own` does that share
// of every step, so that what it reads stays in its core's caches. A share whose thread is not there is done by another, which
// looks out for that thread in each step: nobody waits for one that has not come, but for one that is at work on a share.
template <class Body>
void lockstep(LockstepShare* shares, int64_t count, int64_t own, int64_t steps, const Patience& patience,
              Body&& body) {
  constexpr uint32_t kAbsent = 100;  // turns of waiting after which a thread that has not begun its share is not there
  uint64_t absent = 0;               // a bit for each share: its thread was not there in the last step
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t turn = 0; turn < count; ++turn) {
      const int64_t i = own + turn < count ? own + turn : own + turn - count;
      const uint64_t bit = uint64_t{1} << i;
      LockstepShare& share = shares[i];
      for (uint32_t turns = 0; share.done.load(std::memory_order_acquire) <= step; ++turns) {
        int64_t begun = step;
        if ((i == own || (absent & bit) || turns > kAbsent) && share.taken.load(std::memory_order_relaxed) == step &&
            share.taken.compare_exchange_strong(begun, step + 1, std::memory_order_relaxed)) {
          body(step, i);
          share.done.store(step + 1, std::memory_order_release);
          if (i != own) absent |= bit;
          break;
        }
        absent &= ~bit;
        patience.wait(turns);
      }
    }
  }
}

}  // namespace pw
