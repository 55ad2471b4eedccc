// Long native work as Python wants it to end: at the calling thread's deadline, or on Ctrl-C in the main thread.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>
#include <exception>
#include <optional>

#include "base/stop.h"

namespace pw::python {

// Of one call into the core. Must be made with the GIL held; the work may run without it.
class CallStop : public Stop {
 public:
  CallStop();
  // What the call raises instead of its result: what a signal's handler raised, else Stopped.
  [[noreturn]] void raise() const;

  // The moment at which long work of the calling thread ends; nothing: it does not.
  static void set_deadline(std::optional<double> seconds_from_now);

 private:
  bool wanted() noexcept override;

  bool signals_;  // this thread is the one that handles them
  std::exception_ptr raised_;
};

}  // namespace pw::python
