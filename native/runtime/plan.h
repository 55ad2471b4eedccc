// Plan: prepared kernels in order, with every value's place; immutable, shared by threads.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/catalogue.h"
#include "runtime/place.h"

namespace pw {

struct PlanValue {
  uint64_t bytes;
  std::string device;  // name of an available device
};

// `in`, `out`: values in the order of the kernel's ports; hints as in plugin.h, counting those ports.
struct PlanStep {
  std::string label;
  KernelPtr kernel;
  std::vector<int> in, out;
  std::vector<Share> share;
  std::vector<Reuse> reuse;
};

class Plan {
 public:
  // Places the values. Throws Error when values, steps and kernels do not fit together; inputs and outputs must lie on
  // the CPU. `threads`: how many run a step together, at most.
  Plan(std::vector<PlanValue> values, std::vector<PlanStep> steps, std::vector<int> inputs, std::vector<int> outputs,
       int threads);

  const std::vector<PlanValue>& values() const { return values_; }
  const std::vector<PlanStep>& steps() const { return steps_; }
  const std::vector<int>& inputs() const { return graph_.inputs; }
  const std::vector<int>& outputs() const { return graph_.outputs; }
  int threads() const { return threads_; }
  const Placement& placement() const { return placement_; }

  // Devices in use, the CPU first; bytes of arena and of workspace that a session needs on each.
  const std::vector<DevicePtr>& devices() const { return devices_; }
  const std::vector<uint64_t>& workspace() const { return workspace_; }
  int device_of(int value) const { return graph_.device[value]; }
  // Index into devices() of the device that runs a step.
  int runner(int step) const { return runner_[step]; }

 private:
  int device_index(const DevicePtr& device);
  void check_step(const PlanStep& step, size_t index) const;

  std::vector<PlanValue> values_;
  std::vector<PlanStep> steps_;
  int threads_;
  PlaceGraph graph_;
  std::vector<DevicePtr> devices_;
  std::vector<uint64_t> workspace_;
  std::vector<int> runner_;
  Placement placement_;
};

}  // namespace pw
