#include "runtime/plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/size.h"

namespace pw {

Plan::Plan(std::vector<PlanValue> values, std::vector<PlanStep> steps, std::vector<int> inputs,
           std::vector<int> outputs, int threads)
    : values_(std::move(values)), steps_(std::move(steps)), threads_(threads), devices_{cpu_device()} {
  if (threads < 1 || threads > kMostThreads)
    throw Error("a plan for " + std::to_string(threads) + " threads: expected 1 to " + std::to_string(kMostThreads));
  for (const PlanValue& value : values_) {
    graph_.bytes.push_back(value.bytes);
    graph_.device.push_back(value.device == devices_[0]->name() ? 0 : device_index(find_device(value.device)));
  }
  graph_.inputs = std::move(inputs);
  graph_.outputs = std::move(outputs);
  for (const PlanStep& step : steps_) graph_.steps.push_back({step.in, step.out, step.share, step.reuse});
  check(graph_);
  for (const auto* list : {&graph_.inputs, &graph_.outputs})
    for (int v : *list)
      if (graph_.device[v] != 0)
        throw Error("value " + std::to_string(v) + " is an input or output of the plan but lies on " +
                    values_[v].device + "; expected cpu (transfers are steps of their own)");
  for (size_t s = 0; s < steps_.size(); ++s) check_step(steps_[s], s);
  for (const PlanStep& step : steps_) runner_.push_back(device_index(step.kernel->device()));
  workspace_.assign(devices_.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s)
    workspace_[runner_[s]] = std::max(workspace_[runner_[s]], steps_[s].kernel->raw().workspace_bytes);
  placement_ = place(graph_);
  placement_.arena.resize(devices_.size(), 0);
}

int Plan::device_index(const DevicePtr& device) {
  for (size_t i = 0; i < devices_.size(); ++i)
    if (devices_[i] == device) return static_cast<int>(i);
  devices_.push_back(device);
  return static_cast<int>(devices_.size()) - 1;
}

void Plan::check_step(const PlanStep& step, size_t index) const {
  const std::string where = "step " + std::to_string(index) + " ('" + step.label + "'): ";
  if (!step.kernel) throw Error(where + "it has no kernel");
  if (step.kernel->threads() < threads_)
    throw Error(where + "its kernel was prepared for " + std::to_string(step.kernel->threads()) + " threads, the plan has " +
                std::to_string(threads_) + "; prepare it for as many");
  auto check_ports = [&](const std::vector<int>& values, const std::vector<Port>& ports, const char* side) {
    if (values.size() != ports.size())
      throw Error(where + "its kernel has " + std::to_string(ports.size()) + " " + side + ", got " +
                  std::to_string(values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      const PlanValue& value = values_[values[i]];
      if (value.bytes == ports[i].bytes && value.device == ports[i].device) continue;
      throw Error(where + side + "[" + std::to_string(i) + "] is " + std::to_string(ports[i].bytes) + " bytes on " +
                  ports[i].device + ", got value " + std::to_string(values[i]) + " of " + std::to_string(value.bytes) +
                  " bytes on " + value.device);
    }
  };
  check_ports(step.in, step.kernel->in(), "inputs");
  check_ports(step.out, step.kernel->out(), "outputs");
}

}  // namespace pw
