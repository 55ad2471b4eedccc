#include "base/threads.h"

#include <pthread.h>
#include <sched.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pw {
namespace {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Spins on `done`, then offers the processor to others. Where every thread has a processor of its own the wait is long
// before that: on a busy machine who gives it away gets it back a time slice later, at every barrier.
template <class Done>
void spin_until(uint32_t patience, Done&& done) {
  for (uint32_t spins = 0; !done(); ++spins) {
    relax();
    if (spins > patience) sched_yield();
  }
}

constexpr uint32_t kPatient = 30000, kCrowded = 50;

void c_barrier(pw_team* team) { static_cast<Team*>(team)->barrier(); }

struct Job {
  const std::function<void(Team&)>* body = nullptr;
  TeamShared* shared = nullptr;
  uint32_t index = 0, count = 0;
  std::atomic<uint32_t>* left = nullptr;
};

class Worker {
 public:
  Worker() : thread_([this] { loop(); }), handle_(thread_.native_handle()) { thread_.detach(); }

  // Keeps the worker off the caller's processor. A thread that sleeps is often woken on the processor of the one that
  // wakes it, and two that wait for each other would share it for milliseconds until the system parts them.
  void avoid(int processor, const cpu_set_t& usable) noexcept {
    if (processor == avoided_ || processor < 0) return;
    cpu_set_t others = usable;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(handle_, sizeof others, &others);
    avoided_ = processor;
  }

  void give(const Job& job) {
    job_ = job;
    {
      // The lock orders the flag with the worker's decision to sleep.
      std::lock_guard lock(mutex_);
      ready_.store(true, std::memory_order_release);
    }
    if (asleep_.load(std::memory_order_acquire)) wake_.notify_one();
  }

  bool busy = false;       // guarded by the pool
  Worker* next = nullptr;  // in the same team

 private:
  void loop() {
    for (;;) {
      // Callers that run one inference after another come back within this time.
      for (uint32_t spins = 0; spins < 20000 && !ready_.load(std::memory_order_acquire); ++spins) relax();
      if (!ready_.load(std::memory_order_acquire)) {
        std::unique_lock lock(mutex_);
        asleep_.store(true);
        wake_.wait(lock, [this] { return ready_.load(std::memory_order_acquire); });
        asleep_.store(false);
      }
      ready_.store(false, std::memory_order_relaxed);
      const Job job = job_;
      Team team(job.index, job.count, job.shared);
      (*job.body)(team);
      job.left->fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  Job job_;
  std::atomic<bool> ready_{false}, asleep_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
  pthread_t handle_;
  int avoided_ = -1;  // written by whoever holds the worker
};

class Pool {
 public:
  // Workers of a forked child do not exist there: it starts with an empty pool of its own.
  static Pool& get() {
    static Pool* pool = [] {
      pthread_atfork(nullptr, nullptr, [] { slot() = new Pool; });
      return slot() = new Pool;
    }();
    (void)pool;
    return *slot();
  }

  // Up to `wanted` idle workers, linked by `next`. Allocates nothing once they exist.
  Worker* take(int wanted) noexcept {
    std::lock_guard lock(mutex_);
    Worker* team = nullptr;
    auto join = [&](Worker* worker) {
      worker->busy = true;
      worker->next = team;
      team = worker;
      --wanted;
    };
    const int limit = std::max(wanted, usable_processors_ - 1);
    for (auto& worker : workers_)
      if (wanted > 0 && !worker->busy) join(worker.get());
    try {
      while (wanted > 0 && static_cast<int>(workers_.size()) < limit) {
        workers_.push_back(std::make_unique<Worker>());
        join(workers_.back().get());
      }
    } catch (...) {
      // No memory or no thread to be had: fewer take part.
    }
    return team;
  }

  const cpu_set_t& usable() const noexcept { return usable_; }

  void put(Worker* team) noexcept {
    std::lock_guard lock(mutex_);
    for (; team; team = team->next) team->busy = false;
  }

 private:
  static Pool*& slot() {
    static Pool* pool = nullptr;
    return pool;
  }
  static cpu_set_t affinity() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }
  const int usable_processors_ = usable_processors();
  const cpu_set_t usable_ = affinity();  // of the thread that came first
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace

Team::Team(uint32_t index, uint32_t count, TeamShared* shared)
    : pw_team{sizeof(pw_team), index, count, c_barrier}, shared(shared) {}

void Team::barrier() {
  if (count == 1) return;
  const uint32_t phase = shared->phase.load(std::memory_order_relaxed);
  if (shared->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    shared->arrived.store(0, std::memory_order_relaxed);
    shared->phase.store(phase + 1, std::memory_order_release);
  } else {
    spin_until(shared->patience, [&] { return shared->phase.load(std::memory_order_acquire) != phase; });
  }
}

void parallel(int threads, const std::function<void(Team&)>& body) {
  TeamShared shared;
  if (threads <= 1) {
    Team team(0, 1, &shared);
    body(team);
    return;
  }
  Pool& pool = Pool::get();
  Worker* const workers = pool.take(threads - 1);
  uint32_t count = 1;
  for (const Worker* w = workers; w; w = w->next) ++count;
  shared.patience = static_cast<int>(count) <= CPU_COUNT(&pool.usable()) ? kPatient : kCrowded;
  std::atomic<uint32_t> left{count - 1};
  uint32_t index = 1;
  const int here = sched_getcpu();
  for (Worker* w = workers; w; w = w->next) w->avoid(here, pool.usable());
  for (Worker* w = workers; w; w = w->next) w->give({&body, &shared, index++, count, &left});
  Team team(0, count, &shared);
  body(team);
  spin_until(shared.patience, [&] { return left.load(std::memory_order_acquire) == 0; });
  pool.put(workers);
}

void parallel_for(int64_t n, const std::function<void(int64_t, int64_t)>& body) {
  parallel(static_cast<int>(std::min<int64_t>(n, usable_processors())), [&](Team& team) {
    const auto [first, last] = team.share(n);
    if (first < last) body(first, last);
  });
}

}  // namespace pw
