// Plan: prepared kernels in order, with every value's place; immutable, shared by threads.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/catalogue.h"
#include "runtime/place.h"
#include "runtime/sizes.h"

namespace pw {

struct PlanValue {
  uint64_t bytes;      // the most that it may take
  std::string device;  // name of an available device
  // Of a value whose size is known when the plan runs: bytes of an element, and a size of the plan per axis.
  uint32_t element = 0;
  std::vector<int> axes{};
  bool pooled = false;  // no bound is known: the session takes memory for it once it knows the size
};

// What a step does. A program is a list of steps like any other; these do the going to and fro:
//   kernel  runs one.
//   copy    in[0] to out[0], or to in[1] where there is no output: a value that is written again and again.
//   branch  goes on at `target` where the truth value in[0] is false.
//   jump    goes on at `target`.
//   loop    begins loop number `loop`: size `count` of the plan is the number of rounds, or in[0] (i64) where `counted`, the
//           next input a truth value without which it ends where `tested`; out[0] is the number of the round (i64), further
//           outputs are values that the rounds write. Goes on at `target` when there is no round left.
//   again   ends a round: in[0] is a truth value where `tested`; goes back to `target` when there is another round.
//   rounds  sets sizes to the number of rounds of a loop that has ended.
//   take    out[0] is the slice of in[0] that belongs to this round, along `axis`, from the end where `reversed`.
//   append  puts in[0] into in[1] at this round, likewise.
// All values that a round reads and the next one needs again must be inputs of its `again`: they live until there. Values
// that a copy or an append writes by in[1], and the number of the round, are written again and again: what another value holds
// of their memory, by a hint of a step, must not be read after that (place.h).
enum class Op : uint8_t { kernel, copy, branch, jump, loop, again, rounds, take, append };
constexpr int kOps = 9;

// Size `symbol` of the plan is what a step finds out: of a kernel, what axis `axis` of output `out` turns out to have; of a
// copy, what axis `axis` of its input `out` has, so that one copy states the sizes of several at the same time; of an append,
// what axis `axis` of its target has, in front or behind the axis along which it is written; of rounds, their number.
struct SizeSet {
  int out, axis, symbol;
};

// Makes the kernel of a step for other sizes: those of the plan that `sizes` names. `make` throws Unfit where there is none for
// these sizes; the caller of a run is told whatever else it throws, as it is.
struct KernelMaker {
  std::vector<int> sizes;
  std::function<KernelPtr(const int64_t* values)> make;
  int group = 0;  // steps of one group make equal kernels for equal values: layers that compute the same without weights
};

// `in`, `out`: values in the order of the kernel's ports; hints as in plugin.h, counting those ports.
struct PlanStep {
  std::string label;
  KernelPtr kernel;
  std::vector<int> in, out;
  std::vector<Share> share;
  std::vector<Reuse> reuse;
  Op op = Op::kernel;
  int target = -1, loop = -1, axis = 0, count = -1;
  bool counted = false, tested = false, reversed = false;
  bool opens = false;  // nothing but sizes of values changes with sizes: a kernel with open axes serves others too
  std::vector<SizeSet> sets{};
  std::vector<SizeCheck> checks{};  // what sizes must fulfil when it begins
  std::shared_ptr<const KernelMaker> maker{};  // null: its kernel takes all sizes
};

// Sizes that are known when a plan runs. `given`: how many of the symbols, the first ones, the caller gives; `most`: up to
// which size of each memory is planned, for `given` of them. `late`: values that the session hands out after a run, because
// their sizes are not known before.
struct PlanSizes {
  SizeProgram program;
  size_t given = 0;
  std::vector<int64_t> most{};
  std::vector<int> late{};
};

// An output that is an input with more positions behind it along an axis: number `input` of the plan's inputs and `output` of its
// outputs. A session may be handed both in one memory with room behind the last position; then the positions of the
// input are not written. `apart`: all that read the two go by the room; else they may only have any where the axes in front
// of this one have one position.
struct Growth {
  int input, output, axis;
  bool apart;
};

// Throws Error where a kernel reads or writes other things than a step hands to it. At fixed sizes bytes must agree, at open
// ones the number of sizes and the bytes of an element.
void check_ports(const PreparedKernel& kernel, const PlanStep& step, const std::vector<PlanValue>& values, int threads,
                 const std::string& where);

// Of a plan that is not straight: steps, and phases of one kernel. A stage of a run is told by both (runtime/flow.h).
constexpr size_t kMostSteps = size_t{1} << 20;
constexpr uint64_t kMostPhases = kMostSteps - 3;

class Plan {
 public:
  // Places the values. Throws Error when values, steps and kernels do not fit together; inputs and outputs must lie on
  // the CPU. `threads`: how many run a step together, at most.
  Plan(std::vector<PlanValue> values, std::vector<PlanStep> steps, std::vector<int> inputs, std::vector<int> outputs,
       int threads, PlanSizes sizes = {});

  // The same plan with memory for other sizes of the symbols that the caller gives. Throws Error where these do not fit.
  std::shared_ptr<Plan> resized(std::vector<int64_t> most) const;

  const std::vector<PlanValue>& values() const { return values_; }
  const std::vector<PlanStep>& steps() const { return steps_; }
  const std::vector<int>& inputs() const { return graph_.inputs; }
  const std::vector<int>& outputs() const { return graph_.outputs; }
  int threads() const { return threads_; }
  const Placement& placement() const { return placement_; }
  const PlanSizes& sizes() const { return sizes_; }
  // True for a list of kernels at fixed sizes, run from the first to the last.
  bool straight() const { return straight_; }

  // What may be written behind an input; of values with open sizes.
  const std::vector<Growth>& growths() const { return growths_; }

  // Devices in use, the CPU first; bytes of arena and of workspace that a session needs on each.
  const std::vector<DevicePtr>& devices() const { return devices_; }
  const std::vector<uint64_t>& workspace() const { return workspace_; }
  int device_of(int value) const { return graph_.device[value]; }
  // Index into devices() of the device that runs a step.
  int runner(int step) const { return runner_[step]; }

 private:
  int device_index(const DevicePtr& device);
  void check_stages() const;
  void check_values() const;
  void check_step(const PlanStep& step, size_t index) const;
  void check_sets(const PlanStep& step, const std::string& where) const;
  void check_sizes(const PlanStep& step, const std::string& where) const;
  void check_control(const PlanStep& step, const std::string& where) const;
  void find_growths();
  bool alone(int value) const;

  std::vector<PlanValue> values_;
  std::vector<PlanStep> steps_;
  int threads_;
  PlanSizes sizes_;
  bool straight_ = true;
  PlaceGraph graph_;
  std::vector<DevicePtr> devices_;
  std::vector<uint64_t> workspace_;
  std::vector<int> runner_;
  Placement placement_;
  std::vector<Growth> growths_;
};

}  // namespace pw
