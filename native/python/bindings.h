// The parts of the module.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "runtime/catalogue.h"

namespace pw::python {

namespace nb = nanobind;

// A kernel as Python sees it.
struct KernelHandle {
  KernelPtr kernel;
  std::string device;  // "python" for a Python function
  std::vector<PackingRecorder::Packing> packings = {};  // packed constants that a file may keep
  std::vector<std::string> ukernels = {};               // micro-kernels that it runs on
};

using ShareText = std::tuple<int, int, int64_t>;
using ReuseText = std::pair<int, int>;

inline std::vector<Share> shares(const std::vector<ShareText>& list) {
  std::vector<Share> all;
  for (const auto& [in, out, offset] : list) all.push_back({in, out, offset});
  return all;
}
inline std::vector<Reuse> reuses(const std::vector<ReuseText>& list) {
  std::vector<Reuse> all;
  for (const auto& [in, out] : list) all.push_back({in, out});
  return all;
}

// What a Python kernel raised in this thread and nobody has seen yet; null when nothing.
std::exception_ptr take_python_error();

// What makes the kernel of a plan's step for sizes that are known when it runs: `how` is a function from a list of sizes to a
// Kernel, or (parts of a problem's text, routine, variant, constants, scales, such a function that is asked
// where the routine declines, or None), with a size between two parts. It throws Unfit where the routine declines and nothing
// else is asked, and what the function raises as it is.
std::function<KernelPtr(const int64_t*)> kernel_maker(nb::handle how, size_t sizes);

void bind_machine(nb::module_& m);  // cpu_info, devices, routines, candidates
void bind_kernel(nb::module_& m);   // Kernel, prepare, python_kernel
void bind_plan(nb::module_& m);     // place, Plan, Session
void bind_limits(nb::module_& m);   // limit_probes, time_peak, time_read, time_barriers

}  // namespace pw::python
