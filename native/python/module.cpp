// The extension module pathweave._native: the C++ core as Python sees it, without logic of its own.
#include <nanobind/stl/optional.h>

#include "base/error.h"
#include "python/bindings.h"
#include "python/stop.h"
#include "runtime/device.h"

NB_MODULE(_native, m) {
  using namespace pw::python;
  pw::devices();  // not when first asked: a fork in the middle would leave the child waiting for that
  // The library never prints, not even when the interpreter ends before its objects.
  nb::set_leak_warnings(false);
  nb::register_exception_translator([](const std::exception_ptr& e, void*) {
    try {
      std::rethrow_exception(e);
    } catch (const pw::Stopped& error) {
      PyErr_SetString(PyExc_TimeoutError, error.what());
    } catch (const pw::Error& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    }
  });
  bind_machine(m);
  bind_kernel(m);
  bind_plan(m);
  bind_limits(m);
  m.def("set_deadline", CallStop::set_deadline, nb::arg("seconds").none(),
        "Let long work of this thread (prepare, runs) raise TimeoutError so many seconds from now; None: no more.");
}
