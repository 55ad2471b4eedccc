// The machine's limits.
#include <nanobind/stl/string.h>

#include "python/bindings.h"
#include "python/gil.h"
#include "runtime/limits.h"

namespace pw::python {
namespace {

nb::list list_probes() {
  nb::list all;
  for (const auto& probe : limit_probes()) {
    nb::dict d;
    d["kind"] = probe.kind;
    d["name"] = probe.name;
    d["dtype"] = probe.dtype;
    d["operations"] = probe.operations;
    all.append(d);
  }
  return all;
}

}  // namespace

void bind_limits(nb::module_& m) {
  const auto unlocked = nb::call_guard<Unlocked>();
  m.def("limit_probes", list_probes, "Every probe of a limit that this machine may use: kind, name, dtype, operations.");
  m.def("time_peak", time_peak, nb::arg("name"), nb::arg("threads"), nb::arg("rounds"), nb::arg("trials"), unlocked,
        "Smallest nanoseconds of a trial of `rounds` rounds on every thread. Raises ValueError.");
  m.def("time_read", time_read, nb::arg("name"), nb::arg("bytes"), nb::arg("threads"), nb::arg("times"),
        nb::arg("trials"), unlocked,
        "Smallest nanoseconds of a trial in which every thread reads `bytes` of its own, `times` times. Raises "
        "ValueError, MemoryError.");
  m.def("time_barriers", time_barriers, nb::arg("threads"), nb::arg("count"), nb::arg("trials"), unlocked,
        "Smallest nanoseconds of a trial of `count` barriers. Raises ValueError.");
}

}  // namespace pw::python
