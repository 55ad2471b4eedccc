#include "base/fork.h"

#include <pthread.h>

namespace pw {

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
