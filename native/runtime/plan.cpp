#include "runtime/plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/size.h"
#include "runtime/rooms.h"

namespace pw {

Plan::Plan(std::vector<PlanValue> values, std::vector<PlanStep> steps, std::vector<int> inputs,
           std::vector<int> outputs, int threads, PlanSizes sizes)
    : values_(std::move(values)), steps_(std::move(steps)), threads_(threads), sizes_(std::move(sizes)),
      devices_{cpu_device()} {
  if (threads < 1 || threads > kMostThreads)
    throw Error("a plan for " + std::to_string(threads) + " threads: expected 1 to " + std::to_string(kMostThreads));
  straight_ = sizes_.program.count() == 0;
  for (const PlanStep& step : steps_) straight_ = straight_ && step.op == Op::kernel;
  check_stages();
  for (const PlanValue& value : values_) {
    graph_.bytes.push_back(value.bytes);
    graph_.device.push_back(value.device == devices_[0]->name() ? 0 : device_index(find_device(value.device)));
  }
  graph_.inputs = std::move(inputs);
  graph_.outputs = std::move(outputs);
  for (const PlanStep& step : steps_) graph_.steps.push_back({step.in, step.out, step.share, step.reuse});
  if (!sizes_.late.empty()) graph_.steps.push_back({sizes_.late, {}, {}, {}});  // they live to the end
  check(graph_);
  check_values();
  for (const auto* list : {&graph_.inputs, &graph_.outputs})
    for (int v : *list)
      if (graph_.device[v] != 0)
        throw Error("value " + std::to_string(v) + " is an input or output of the plan but lies on " +
                    values_[v].device + "; expected cpu (transfers are steps of their own)");
  for (size_t s = 0; s < steps_.size(); ++s) check_step(steps_[s], s);
  for (const PlanStep& step : steps_) runner_.push_back(step.kernel ? device_index(step.kernel->device()) : 0);
  workspace_.assign(devices_.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s)
    if (steps_[s].kernel)
      workspace_[runner_[s]] = std::max(workspace_[runner_[s]], steps_[s].kernel->raw().workspace_bytes);
  placement_ = place(graph_);
  placement_.arena.resize(devices_.size(), 0);
  if (!straight_) find_growths();
}

// Whether a value of the caller's has the caller's memory for itself, and the caller names it once.
bool Plan::alone(int value) const {
  const Spot& spot = placement_.values[static_cast<size_t>(value)];
  if (spot.where == Where::arena) return false;
  const auto& named = spot.where == Where::input ? graph_.inputs : graph_.outputs;
  if (std::count(named.begin(), named.end(), value) != 1 || named[static_cast<size_t>(spot.root)] != value) return false;
  return std::count_if(placement_.values.begin(), placement_.values.end(),
                       [&](const Spot& s) { return s.where == spot.where && s.root == spot.root; }) == 1;
}

void Plan::find_growths() {
  for (const PlanStep& step : steps_) {
    if (step.op != Op::kernel || step.out.size() != 1 || step.in.empty() || !step.sets.empty()) continue;
    const int from = step.in[0], to = step.out[0], axis = room_of(step.kernel->raw(), step.in.size());
    const PlanValue &first = values_[static_cast<size_t>(from)], &last = values_[static_cast<size_t>(to)];
    if (axis < 0 || room_of(step.kernel->raw(), 0) != axis || first.pooled || last.pooled) continue;
    if (first.axes.empty() || last.axes.empty()) continue;
    if (placement_.values[static_cast<size_t>(from)].where != Where::input || !alone(from) || !alone(to) ||
        placement_.values[static_cast<size_t>(to)].where != Where::output)
      continue;
    const auto& inputs = graph_.inputs;
    Growth growth{static_cast<int>(std::find(inputs.begin(), inputs.end(), from) - inputs.begin()),
                  placement_.values[static_cast<size_t>(to)].root, axis, true};
    bool writes_again = false;
    for (const PlanStep& other : steps_)
      for (size_t i = 0; i < other.in.size(); ++i) {
        if ((other.in[i] != from && other.in[i] != to) || (&other == &step && i == 0)) continue;
        writes_again = writes_again || other.op != Op::kernel;
        growth.apart = growth.apart && other.op == Op::kernel && room_of(other.kernel->raw(), i) == axis;
      }
    if (!writes_again) growths_.push_back(growth);
  }
}

std::shared_ptr<Plan> Plan::resized(std::vector<int64_t> most) const {
  if (most.size() != sizes_.given)
    throw Error("expected " + std::to_string(sizes_.given) + " sizes, got " + std::to_string(most.size()));
  PlanSizes sizes = sizes_;
  sizes.most = std::move(most);
  std::vector<int64_t> results(sizes.program.count());
  for (size_t i = 0; i < sizes.program.symbols().size(); ++i) {
    const auto symbol = static_cast<size_t>(sizes.program.symbols()[i]);
    results[symbol] = i < sizes.given ? sizes.most[i] : sizes.program[symbol].b;
  }
  sizes.program.evaluate(results.data());
  std::vector<PlanValue> values = values_;
  for (PlanValue& value : values) {
    if (value.axes.empty() || value.pooled) continue;
    value.bytes = value.element;
    for (int size : value.axes)
      if (const int64_t one = results[static_cast<size_t>(size)];
          one < 0 || __builtin_mul_overflow(value.bytes, static_cast<uint64_t>(one), &value.bytes) ||
          value.bytes > static_cast<uint64_t>(kMostBytes))
        throw Error("a value would have more bytes than one may have");
  }
  return std::make_shared<Plan>(std::move(values), steps_, graph_.inputs, graph_.outputs, threads_, std::move(sizes));
}

int Plan::device_index(const DevicePtr& device) {
  for (size_t i = 0; i < devices_.size(); ++i)
    if (devices_[i] == device) return static_cast<int>(i);
  devices_.push_back(device);
  return static_cast<int>(devices_.size()) - 1;
}

void Plan::check_stages() const {
  if (straight_) return;
  if (steps_.size() > kMostSteps)
    throw Error("a plan of " + std::to_string(steps_.size()) + " steps: expected at most " + std::to_string(kMostSteps) +
                " where sizes are open or there are conditions or loops");
  for (size_t s = 0; s < steps_.size(); ++s)
    if (steps_[s].kernel && steps_[s].kernel->raw().phases > kMostPhases)
      throw Error("step " + std::to_string(s) + " ('" + steps_[s].label + "'): its kernel has " +
                  std::to_string(steps_[s].kernel->raw().phases) + " phases, expected at most " + std::to_string(kMostPhases) +
                  " where sizes are open or there are conditions or loops; take a smaller batch");
}

void Plan::check_values() const {
  for (size_t v = 0; v < values_.size(); ++v) {
    const PlanValue& value = values_[v];
    for (int size : value.axes)
      if (size < 0 || size >= static_cast<int>(sizes_.program.count()) || value.element == 0)
        throw Error("value " + std::to_string(v) + ": its sizes are not among those of the plan");
    if (value.pooled && (value.axes.empty() || graph_.device[v] != 0))
      throw Error("value " + std::to_string(v) + ": memory that is taken while the plan runs is the CPU's, for open sizes");
  }
  if (sizes_.given > sizes_.program.symbols().size()) throw Error("a plan is given more sizes than it has");
  if (!sizes_.most.empty() && sizes_.most.size() != sizes_.given)
    throw Error("memory is planned for " + std::to_string(sizes_.most.size()) + " sizes: expected " +
                std::to_string(sizes_.given) + " sizes");
  for (int v : sizes_.late)
    if (std::find(graph_.inputs.begin(), graph_.inputs.end(), v) != graph_.inputs.end() || graph_.device[v] != 0 ||
        values_[v].axes.empty())
      throw Error("value " + std::to_string(v) + " is handed out after a run: expected one that a step writes, on the cpu, "
                  "which states its sizes");
}

// What a step says that it finds out.
void Plan::check_sets(const PlanStep& step, const std::string& where) const {
  const auto& symbols = sizes_.program.symbols();
  for (const SizeSet& set : step.sets) {
    const auto found = std::find(symbols.begin(), symbols.end(), set.symbol);
    if (found == symbols.end() || found - symbols.begin() < static_cast<std::ptrdiff_t>(sizes_.given))
      throw Error(where + "it sets a size that is no symbol, or one that the caller gives");
    if (step.op == Op::rounds) continue;
    const bool copies = step.op == Op::copy, appends = step.op == Op::append;
    if (!copies && !appends && step.op != Op::kernel) throw Error(where + "it sets a size, but finds none");
    const auto& list = step.op == Op::kernel ? step.out : step.in;
    const int at = appends ? 1 : set.out;
    if (at < 0 || at >= static_cast<int>(list.size()) || set.axis < 0 ||
        set.axis >= static_cast<int>(values_[list[static_cast<size_t>(at)]].axes.size()) || (appends && set.axis == step.axis))
      throw Error(where + "it sets a size by axis " + std::to_string(set.axis) + " of value " + std::to_string(set.out) +
                  ", which has no such size");
  }
}

// Sizes that a step names.
void Plan::check_sizes(const PlanStep& step, const std::string& where) const {
  const auto exists = [&](int size) { return size >= 0 && size < static_cast<int>(sizes_.program.count()); };
  if (step.maker && !std::all_of(step.maker->sizes.begin(), step.maker->sizes.end(), exists))
    throw Error(where + "its kernel is made for sizes that are not among those of the plan");
  for (const SizeCheck& check : step.checks)
    for (const SizeRelation& r : check.any)
      if (!exists(r.left) || !exists(r.right)) throw Error(where + "it checks sizes that are not among those of the plan");
  if (step.count >= static_cast<int>(sizes_.program.count())) throw Error(where + "its rounds are no size of the plan");
  if (step.op != Op::kernel && (step.kernel || step.maker || step.opens)) throw Error(where + "it runs no kernel, but has one");
}

// What the steps between kernels need to be followed without looking.
void Plan::check_control(const PlanStep& step, const std::string& where) const {
  const auto jumps = step.op == Op::branch || step.op == Op::jump || step.op == Op::loop || step.op == Op::again;
  if (jumps && (step.target < 0 || step.target > static_cast<int>(steps_.size())))
    throw Error(where + "it goes on at step " + std::to_string(step.target) + ", which does not exist");
  const size_t in = step.op == Op::branch || step.op == Op::take ? 1 : step.op == Op::append ? 2
                    : step.op == Op::copy ? 2 - step.out.size()
                                          : size_t{step.counted} + size_t{step.tested};
  const size_t out = step.op == Op::take || step.op == Op::loop ? 1 : 0;
  if (step.in.size() < in || step.out.size() < out) throw Error(where + "it has too few values");
  const bool looped = step.op == Op::loop || step.op == Op::again || step.op == Op::rounds || step.op == Op::take ||
                      step.op == Op::append;
  if (looped && (step.loop < 0 || step.loop >= static_cast<int>(steps_.size())))
    throw Error(where + "it belongs to no loop");
  for (const auto* list : {&step.in, &step.out})
    for (int v : *list)
      if (graph_.device[v] != 0) throw Error(where + "it touches a value on " + values_[v].device + "; expected cpu");
  auto holds = [&](int v, uint64_t bytes) {
    if (values_[v].bytes != bytes || !values_[v].axes.empty())
      throw Error(where + "value " + std::to_string(v) + " has " + std::to_string(values_[v].bytes) + " bytes, expected " +
                  std::to_string(bytes));
  };
  if (step.op == Op::branch) holds(step.in[0], 1);
  if (step.op == Op::loop) {
    if (step.counted) holds(step.in[0], 8);
    if (step.tested) holds(step.in[step.counted ? 1 : 0], 1);
    holds(step.out[0], 8);
  }
  if (step.op == Op::again && step.tested) holds(step.in[0], 1);
  if (step.op == Op::take || step.op == Op::append) {
    const PlanValue& whole = values_[step.op == Op::take ? step.in[0] : step.in[1]];
    const PlanValue& part = values_[step.op == Op::take ? step.out[0] : step.in[0]];
    if (step.axis < 0 || step.axis >= static_cast<int>(whole.axes.size()))
      throw Error(where + "it cuts axis " + std::to_string(step.axis) + " of a value that states " +
                  std::to_string(whole.axes.size()) + " sizes");
    if (!step.sets.empty() && part.axes.size() + 1 != whole.axes.size())
      throw Error(where + "its part states " + std::to_string(part.axes.size()) + " sizes, the whole " +
                  std::to_string(whole.axes.size()));
  }
  if (step.op == Op::again && (step.target < 1 || steps_[static_cast<size_t>(step.target) - 1].op != Op::loop ||
                               steps_[static_cast<size_t>(step.target) - 1].out.empty()))
    throw Error(where + "it goes back to no loop");
  // A copy must not leave its target: that has the same sizes, or is measured in bytes, or takes what it needs.
  if (step.op == Op::copy) {
    const PlanValue &from = values_[step.in[0]], &to = values_[step.out.empty() ? step.in[1] : step.out[0]];
    if (!to.pooled && (from.pooled || from.bytes > to.bytes))
      throw Error(where + "it copies " + std::to_string(from.bytes) + " bytes to " + std::to_string(to.bytes));
  }
}

void Plan::check_step(const PlanStep& step, size_t index) const {
  const std::string where = "step " + std::to_string(index) + " ('" + step.label + "'): ";
  check_sizes(step, where);
  check_sets(step, where);
  if (step.op != Op::kernel) return check_control(step, where);
  if (!step.kernel) throw Error(where + "it has no kernel");
  check_ports(*step.kernel, step, values_, threads_, where);
}

void check_ports(const PreparedKernel& kernel, const PlanStep& step, const std::vector<PlanValue>& values, int threads,
                 const std::string& where) {
  if (kernel.threads() < threads)
    throw Error(where + "its kernel was prepared for " + std::to_string(kernel.threads()) + " threads, the plan has " +
                std::to_string(threads) + "; prepare it for as many");
  const auto side = [&](const std::vector<int>& list, const std::vector<Port>& ports, const char* name) {
    if (list.size() != ports.size())
      throw Error(where + "its kernel has " + std::to_string(ports.size()) + " " + name + ", got " +
                  std::to_string(list.size()));
    for (size_t i = 0; i < list.size(); ++i) {
      const PlanValue& value = values[static_cast<size_t>(list[i])];
      const Port& port = ports[i];
      // The kernel of open sizes is one of many: whether it does for those of a run is looked at before it runs.
      uint64_t bytes = value.element;
      for (int64_t size : port.sizes) bytes *= static_cast<uint64_t>(size);
      const bool fits = value.axes.empty() ? value.bytes == port.bytes
                                           : port.sizes.size() == value.axes.size() && port.bytes == bytes;
      if (fits && value.device == port.device) continue;
      throw Error(where + name + "[" + std::to_string(i) + "] is " + std::to_string(port.bytes) + " bytes on " + port.device +
                  ", got value " + std::to_string(list[i]) + " of " +
                  (value.axes.empty() ? std::to_string(value.bytes) + " bytes"
                                      : std::to_string(value.axes.size()) + " sizes and " + std::to_string(value.element) +
                                            " bytes an element") +
                  " on " + value.device);
    }
  };
  side(step.in, kernel.in(), "inputs");
  side(step.out, kernel.out(), "outputs");
}

}  // namespace pw
