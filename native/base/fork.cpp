#include "base/fork.h"

#include <pthread.h>

#include <atomic>

namespace pw {
namespace {

std::atomic<uint32_t> fork_count{0};
[[maybe_unused]] const int at_fork =
    pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

uint32_t forks() noexcept { return fork_count.load(std::memory_order_relaxed); }

// All of them, in the order in which fork takes them.
struct ForkMutexes {
  std::mutex mutex;  // of this list
  ForkMutex* first = nullptr;

  static ForkMutexes& get() {
    static ForkMutexes& all = *[] {
      pthread_atfork([] { get().lock(); }, [] { get().unlock(); }, [] { get().unlock(); });
      return new ForkMutexes;
    }();
    return all;
  }

  void lock() {
    mutex.lock();
    for (ForkMutex* m = first; m; m = m->next_) m->mutex_.lock();
  }
  void unlock() {
    for (ForkMutex* m = first; m; m = m->next_) m->mutex_.unlock();
    mutex.unlock();
  }
};

ForkMutex::ForkMutex() {
  ForkMutexes& all = ForkMutexes::get();
  std::lock_guard lock(all.mutex);
  next_ = all.first;
  all.first = this;
}

}  // namespace pw
