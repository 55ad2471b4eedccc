// Ending long native work early: at a deadline, or because somebody wants it to end.
#pragma once
#include <chrono>
#include <cstdint>

#include "base/error.h"

namespace pw {

// What building throws when it was asked to end. Nothing half made is kept.
class Stopped : public Error {
 public:
  Stopped() : Error("stopped before it was done") {}
};

// Asked by the thread that called, often: between two pieces of work. What took so far is lost with the first true.
class Stop {
 public:
  virtual ~Stop() = default;

  // True once the work should end, and from then on. Looks at the clock every kCalls calls, and at `wanted` when
  // kLook has passed since it last did.
  bool due() noexcept {
    if (due_ || ++calls_ % kCalls != 0) return due_;
    return look();
  }
  // The same, whatever was asked before.
  bool look() noexcept {
    if (due_) return true;
    const auto now = Clock::now();
    if (now >= deadline_) return due_ = true;
    if (now < next_) return false;
    next_ = now + kLook;
    return due_ = wanted();
  }

  // Whether it was due, without looking again.
  bool ended() const noexcept { return due_; }

  // That of the calling thread; null where nobody would end its work.
  static Stop* here() noexcept { return current_; }

 protected:
  using Clock = std::chrono::steady_clock;
  explicit Stop(Clock::time_point deadline = Clock::time_point::max()) : deadline_(deadline) {}

 private:
  friend class StopScope;
  // Whether somebody wants the work to end before its deadline.
  virtual bool wanted() noexcept = 0;

  static constexpr uint32_t kCalls = 8;
  static constexpr std::chrono::milliseconds kLook{50};
  static inline thread_local Stop* current_ = nullptr;

  const Clock::time_point deadline_;
  bool due_ = false;
  uint32_t calls_ = 0;
  Clock::time_point next_ = Clock::now() + kLook;
};

// While it lives, the calling thread's long work looks at `stop`.
class StopScope {
 public:
  explicit StopScope(Stop* stop) : before_(Stop::current_) { Stop::current_ = stop; }
  ~StopScope() { Stop::current_ = before_; }
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  Stop* before_;
};

}  // namespace pw
