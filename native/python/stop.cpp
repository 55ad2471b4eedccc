#include "python/stop.h"

#include <algorithm>

#include "python/gil.h"

namespace nb = nanobind;

namespace pw::python {
namespace {

thread_local std::optional<std::chrono::steady_clock::time_point> deadline;

// The module is imported by any thread; Python's main one is known to `threading`.
unsigned long main_thread() {
  static const unsigned long ident =
      nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
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
