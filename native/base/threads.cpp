#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "base/fork.h"

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

// Fetches memory into this core's L2, some lines at a time.
class Fetch {
 public:
  Fetch() = default;
  // What L2 does not hold would be gone before it is read.
  explicit Fetch(Memory memory)
      : next_(static_cast<const char*>(memory.data)), end_(next_ + std::min<uint64_t>(memory.bytes, cpu().l2)) {}
  void some() noexcept {
    constexpr int kLines = 16, kLine = 64;
    for (int i = 0; i < kLines && next_ < end_; ++i, next_ += kLine) __builtin_prefetch(next_, 0, 2);
  }

 private:
  const char *next_ = nullptr, *end_ = nullptr;
};

// Spins on `done`, then offers the processor to others again and again. Where every thread has a processor of its own
// the wait is long before that: giving it away takes longer than most waits do.
template <class Done>
void spin_until(uint32_t patience, Done&& done) {
  for (uint32_t spins = 0; !done(); ++spins) {
    relax();
    if (spins > patience) sched_yield();
  }
}

constexpr uint32_t kPatient = 4000, kCrowded = 50;
// Spins of an idle worker before it sleeps, per spin of its last region's patience.
constexpr uint32_t kIdle = 5;

void c_barrier(pw_team* team) { static_cast<Team*>(team)->barrier(); }

void c_loop(pw_team* team, int64_t n, int64_t grain, void* self, void (*body)(void*, int64_t, int64_t)) {
  static_cast<Team*>(team)->each(n, grain, [&](int64_t first, int64_t last) { body(self, first, last); });
}

}  // namespace

// A thread's way through a region.
class Region {
 public:
  // `patience`: spins before a waiting thread offers its processor to others.
  // `stop`: of the thread that called.
  Region(TeamShared& shared, uint32_t index, uint32_t count, uint32_t patience, Stop* stop = nullptr)
      : shared_(shared), team_(index, count, patience, &shared), patience_(patience) {
    team_.stop = stop;
  }

  // This thread's part of a stage, and the end of it where nobody else has anything to do there.
  void attend(uint32_t stage) noexcept {
    constexpr uint32_t kLoops = 16;
    team_.pieces = team_.done = 0;
    team_.tag = (uint64_t{stage} + 1) << kLoops;
    // Asked here, where the stages are sure to be there; a thread that waits may outlive them.
    ahead_ = Fetch(shared_.stages->ahead(stage, team_.index));
    const Gather gather = shared_.stages->run(stage, team_);
    if (gather == Gather::nobody) return;
    if (gather == Gather::first) {
      if (team_.index == 0) end(stage);
      return;
    }
    if (gather == Gather::everyone) {
      team_.pieces = team_.count;
      team_.done = 1;
    } else if (team_.pieces == 0) {
      team_.each(1, 1, [](int64_t, int64_t) {});  // nothing to do: who takes the piece ends it
    }
    if (team_.done == 0) return;
    // The order of these additions hands on what everybody wrote. Who did nothing adds nothing: nobody is late here.
    if (shared_.finished.fetch_add(team_.done, std::memory_order_acq_rel) + team_.done < team_.pieces) return;
    shared_.finished.store(0, std::memory_order_relaxed);
    end(stage);
  }

  // Waits until a stage is over, or the region is; meanwhile fetches what comes then.
  void wait(uint32_t stage, uint64_t region) noexcept {
    spin_until(patience_, [&] {
      ahead_.some();
      return shared_.stage.load(std::memory_order_acquire) != stage ||
             shared_.region.load(std::memory_order_relaxed) != region;
    });
  }

 private:
  void end(uint32_t stage) noexcept {
    const uint32_t next = shared_.stages->next(stage);
    shared_.stage.store(shared_.stopped.load(std::memory_order_relaxed) ? shared_.stop : next, std::memory_order_release);
  }

  TeamShared& shared_;
  Team team_;
  Fetch ahead_;
  const uint32_t patience_;
};

namespace {

// A place in a team, handed to a worker.
struct Job {
  TeamShared* shared = nullptr;
  uint32_t index = 0, count = 0, patience = 0;
};

// Threads that are made while it lives take no signals: those are for the threads of the program, whose handlers and
// whose interrupted calls are there. What a thread does to itself (SIGSEGV) and a profiler's clock still reach them.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;

 private:
  sigset_t before_;
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

  // Offers a place in a region. The worker may still be on its way out of an earlier one, or asleep: it comes when it
  // can, and finds the gate closed when it comes too late.
  void give(const Job& job, uint64_t region) {
    bool asleep;
    {
      std::lock_guard lock(mutex_);
      job_ = job;
      region_.store(region, std::memory_order_release);
      asleep = asleep_;
    }
    if (asleep) wake_.notify_one();
  }

  // True while the worker may touch what belongs to a region. Ask only once its gate is closed.
  bool inside() const noexcept { return inside_.load(std::memory_order_seq_cst); }

  bool busy = false;       // guarded by the pool
  Worker* next = nullptr;  // in the same team

 private:
  void loop() {
    Job job;
    job.patience = kPatient;
    for (uint64_t last = 0;;) {
      // Callers that run one inference after another come back within this time.
      for (uint32_t spins = 0; spins < kIdle * job.patience && region_.load(std::memory_order_acquire) == last; ++spins)
        relax();
      {
        std::unique_lock lock(mutex_);
        asleep_ = true;
        wake_.wait(lock, [&] { return region_.load(std::memory_order_relaxed) != last; });
        asleep_ = false;
        job = job_;
        last = region_.load(std::memory_order_relaxed);
      }
      join(job, last);
    }
  }

  // Takes part from whatever stage the team is at, until the region is over.
  void join(const Job& job, uint64_t region) noexcept {
    TeamShared& shared = *job.shared;
    Region mine(shared, job.index, job.count, job.patience);
    for (;;) {
      // The caller closes the gate, then looks whether somebody is inside: one of the two sees the other.
      inside_.store(true, std::memory_order_seq_cst);
      if (shared.region.load(std::memory_order_seq_cst) != region) break;
      const uint32_t stage = shared.stage.load(std::memory_order_acquire);
      if (stage >= shared.stop) break;
      mine.attend(stage);
      inside_.store(false, std::memory_order_release);
      mine.wait(stage, region);
    }
    inside_.store(false, std::memory_order_release);
  }

  Job job_;                          // guarded by mutex_
  bool asleep_ = false;              // guarded by mutex_
  std::atomic<uint64_t> region_{0};  // of job_
  alignas(64) std::atomic<bool> inside_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
  pthread_t handle_;
  int avoided_ = -1;  // written by whoever holds the worker
};

class Pool {
 public:
  // Never destroyed: its workers run while the process ends. They do not exist in a forked child, which makes a pool of
  // its own.
  static Pool& get() {
    if (Pool* pool = made.load(std::memory_order_acquire)) return *pool;
    std::lock_guard lock(making);
    Pool* pool = made.load(std::memory_order_relaxed);
    if (!pool) {
      static const int forks = pthread_atfork(nullptr, nullptr, [] { made.store(nullptr, std::memory_order_relaxed); });
      (void)forks;
      made.store(pool = new Pool, std::memory_order_release);
    }
    return *pool;
  }

  struct Crew {
    TeamShared* shared = nullptr;
    Worker* workers = nullptr;  // linked by `next`
    uint64_t region = 0;        // a number that no other region ever has
  };

  // Up to `wanted` idle workers and what they share; none where memory is short. Allocates nothing once they exist.
  Crew take(int wanted) noexcept {
    std::lock_guard lock(mutex_);
    Crew crew;
    Worker*& team = crew.workers;
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
      crew.shared = idle_ ? idle_ : new TeamShared;  // never freed
      idle_ = crew.shared->next;
      while (wanted > 0 && static_cast<int>(workers_.size()) < limit) {
        const NoSignals for_the_worker;
        workers_.reserve(workers_.size() + 1);  // a worker that runs must find its place
        workers_.push_back(std::make_unique<Worker>());
        join(workers_.back().get());
      }
    } catch (...) {
      // No memory or no thread to be had: fewer take part.
    }
    crew.region = ++regions_;
    return crew;
  }

  const cpu_set_t& usable() const noexcept { return usable_; }

  void put(const Crew& crew) noexcept {
    std::lock_guard lock(mutex_);
    for (Worker* worker = crew.workers; worker; worker = worker->next) worker->busy = false;
    if (!crew.shared) return;
    crew.shared->next = idle_;
    idle_ = crew.shared;
  }

 private:
  static inline ForkMutex& making = *new ForkMutex;
  static inline std::atomic<Pool*> made{nullptr};
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
  TeamShared* idle_ = nullptr;
  uint64_t regions_ = 0;
};

// A region in which every thread does one thing.
class OneStage : public Stages {
 public:
  explicit OneStage(const std::function<void(Team&)>& body) : body_(body) {}
  Gather run(uint32_t, Team& team) noexcept override {
    body_(team);
    return Gather::everyone;
  }

 private:
  const std::function<void(Team&)>& body_;
};

// A region that is one loop.
class OneLoop : public Stages {
 public:
  OneLoop(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body)
      : n_(n), grain_(grain), body_(body) {}
  Gather run(uint32_t, Team& team) noexcept override {
    team.each(n_, grain_, body_);
    return Gather::pieces;
  }

 private:
  const int64_t n_, grain_;
  const std::function<void(int64_t, int64_t)>& body_;
};

}  // namespace

Team::Team(uint32_t index, uint32_t count, uint32_t patience, TeamShared* shared)
    : pw_team{sizeof(pw_team), index, count, c_barrier, 0, c_loop}, shared(shared), patience(patience) {}

void Team::barrier() {
  if (count == 1) return;
  if (shared->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    // Everybody is here, nobody in a loop.
    for (auto& ticket : shared->tickets) ticket.word.store(0, std::memory_order_relaxed);
    shared->arrived.store(0, std::memory_order_relaxed);
    shared->meeting.fetch_add(1, std::memory_order_release);
  } else {
    spin_until(patience, [&] { return shared->meeting.load(std::memory_order_acquire) != meeting; });
  }
  ++meeting;
}

bool parallel(int threads, uint32_t first, uint32_t last, Stages& stages) noexcept {
  Stop* stop = Stop::here();
  auto alone = [&] {
    Team team;
    team.stop = stop;
    for (uint32_t stage = first; stage < last && !(stop && stop->due()); stage = stages.next(stage))
      stages.run(stage, team);
    return !(stop && stop->ended());
  };
  if (threads <= 1) return alone();
  Pool& pool = Pool::get();
  const Pool::Crew crew = pool.take(threads - 1);
  if (!crew.shared || !crew.workers) {
    pool.put(crew);
    return alone();
  }
  uint32_t count = 1;
  for (const Worker* w = crew.workers; w; w = w->next) ++count;
  TeamShared& shared = *crew.shared;
  // Nobody is inside, so all of this may be set anew.
  const uint32_t patience = static_cast<int>(count) <= CPU_COUNT(&pool.usable()) ? kPatient : kCrowded;
  shared.stages = &stages;
  shared.stop = last;
  shared.stage.store(first, std::memory_order_relaxed);
  shared.finished.store(0, std::memory_order_relaxed);
  shared.stopped.store(false, std::memory_order_relaxed);
  for (auto& ticket : shared.tickets) ticket.word.store(0, std::memory_order_relaxed);
  shared.meeting.store(0, std::memory_order_relaxed);
  shared.region.store(crew.region, std::memory_order_release);
  uint32_t index = 1;
  const int here = sched_getcpu();
  for (Worker* w = crew.workers; w; w = w->next) w->avoid(here, pool.usable());
  for (Worker* w = crew.workers; w; w = w->next) w->give({&shared, index++, count, patience}, crew.region);
  Region mine(shared, 0, count, patience, stop);
  for (uint32_t stage; (stage = shared.stage.load(std::memory_order_acquire)) < last;) {
    mine.attend(stage);
    mine.wait(stage, crew.region);
  }
  shared.region.store(0, std::memory_order_seq_cst);
  for (Worker* w = crew.workers; w; w = w->next) spin_until(patience, [&] { return !w->inside(); });
  const bool whole = !shared.stopped.load(std::memory_order_relaxed) && !(stop && stop->ended());
  pool.put(crew);
  return whole;
}

void apart(int threads, uint32_t first, uint32_t last, Stages& stages) noexcept {
  constexpr uint64_t kGone = UINT64_MAX;  // a share without tickets in all loops
  TeamShared shared;
  const auto count = static_cast<uint32_t>(threads), shares = std::min(count, TeamShared::kShares);
  for (uint32_t stage = first; stage < last; stage = stages.next(stage)) {
    uint64_t left[TeamShared::kShares] = {};
    for (uint32_t index = count; index-- > 0;) {
      for (auto& ticket : shared.tickets) ticket.word.store(kGone, std::memory_order_relaxed);
      std::atomic<uint64_t>& own = shared.tickets[index % shares].word;
      own.store(left[index % shares], std::memory_order_relaxed);
      Team team(index, count, 0, &shared);
      stages.run(stage, team);
      left[index % shares] = own.load(std::memory_order_relaxed);
    }
  }
}

void parallel(int threads, const std::function<void(Team&)>& body) {
  OneStage stage(body);
  parallel(threads, 0, 1, stage);
}

void parallel_for(int64_t n, const std::function<void(int64_t, int64_t)>& body) {
  const auto threads = static_cast<int>(std::min<int64_t>(n, usable_processors()));
  if (Stop* stop = Stop::here(); stop && stop->look()) throw Stopped();
  OneLoop loop(n, std::max<int64_t>(1, n / (32 * std::max(1, threads))), body);
  if (!parallel(threads, 0, 1, loop)) throw Stopped();
}

}  // namespace pw
