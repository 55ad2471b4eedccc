#include "python/stop.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>

#include "python/gil.h"

namespace nb = nanobind;

namespace pw::python {
namespace {

thread_local std::optional<std::chrono::steady_clock::time_point> deadline;

// Python's main thread, which `threading` knows, whatever thread imports the module; 0 before anyone asked.
std::atomic<unsigned long> main_thread_ident{0};
// In a forked child the thread that forked is the main one.
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { main_thread_ident.store(0); });

// Several threads may ask at first, each for itself. A static variable would make one wait for another: with the
// interpreter's lock, which the other needs to go on.
unsigned long main_thread() {
  unsigned long ident = main_thread_ident.load(std::memory_order_relaxed);
  if (ident == 0) {
    ident = nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
    main_thread_ident.store(ident, std::memory_order_relaxed);
  }
  return ident;
}

}  // namespace

CallStop::CallStop()
    : Stop(deadline.value_or(Clock::time_point::max())), signals_(PyThread_get_thread_ident() == main_thread()) {}

void CallStop::raise() const {
  if (raised_) std::rethrow_exception(raised_);
  throw Stopped();
}

void CallStop::set_deadline(std::optional<double> seconds) {
  constexpr double kLongest = 1e8;  // three years; more would not fit the clock
  if (!seconds) return deadline.reset();
  const std::chrono::duration<double> left(std::min(std::max(*seconds, 0.0), kLongest));
  deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
}

bool CallStop::wanted() noexcept {
  if (!signals_) return false;
  const Locked locked;
  if (PyErr_CheckSignals() == 0) return false;
  try {
    nb::raise_python_error();
  } catch (...) {
    raised_ = std::current_exception();
  }
  return true;
}

}  // namespace pw::python
