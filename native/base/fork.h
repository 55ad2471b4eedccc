// What makes the library usable in a forked child, where only the thread that called fork goes on.
#pragma once
#include <cstdint>
#include <mutex>

namespace pw {

// A mutex that nobody holds in a forked child, so that what it guards is whole there: fork waits for whoever holds it.
// For short sections that take no other mutex and call nothing of strangers. It is never destroyed.
class ForkMutex {
 public:
  ForkMutex();
  ForkMutex(const ForkMutex&) = delete;
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  friend struct ForkMutexes;
  std::mutex mutex_;
  ForkMutex* next_ = nullptr;
};

// How many forks lie between the process that loaded the library and this one: what belongs to one process alone, such as
// a thread, is there only while the number is that of its making.
uint32_t forks() noexcept;

}  // namespace pw
