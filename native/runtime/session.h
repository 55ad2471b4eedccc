// Session: one caller's state over a plan. run() is the hot path.
#pragma once
#include <atomic>
#include <climits>
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "base/threads.h"
#include "runtime/plan.h"
#include "runtime/queues.h"

namespace pw {

// Memory of a device, given back when it goes out of scope.
class DeviceMemory {
 public:
  DeviceMemory(DevicePtr device, uint32_t kind, uint64_t bytes)
      : device_(std::move(device)), kind_(kind), memory_(bytes || device_->host() ? device_->allocate(kind, bytes) : nullptr) {}
  DeviceMemory(DeviceMemory&& other) noexcept
      : device_(std::move(other.device_)), kind_(other.kind_), memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory() {
    if (memory_ && device_->here()) device_->release(kind_, memory_);
  }
  char* data() const { return static_cast<char*>(memory_); }

 private:
  DevicePtr device_;
  uint32_t kind_;
  void* memory_;
};

class Session : protected Stages {
 public:
  static constexpr int kBusy = -1;     // another thread is running this session
  static constexpr int kStopped = -2;  // the caller's Stop ended the run
  static constexpr int kUnfit = -3;    // the plan does not do for these sizes; `message` says why
  static constexpr int kNoMemory = -4;
  static constexpr int kForked = -5;   // a device of the plan belongs to the process that opened it
  static constexpr int kThrown = -6;   // what prepares a step threw; `take_thrown` hands it over

  // Of a plan of any kind; see the constructor.
  static std::unique_ptr<Session> make(std::shared_ptr<const Plan> plan);

  // Of a straight plan.

  // Allocates arenas and workspaces, and makes queues. Throws std::bad_alloc, DeviceFull, Error.
  explicit Session(std::shared_ptr<const Plan> plan);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // inputs, outputs: one pointer each, in the plan's order, aligned to their elements; no output may overlap an input
  // or another output. Inputs are read in place; outputs are written in place where the placement allows, else copied
  // at the end. sizes: those that the plan is given (PlanSizes), null where it has none. step_ns: null, or receives the
  // nanoseconds of each step, by the clock of its device where that is not wall time, of all rounds of a loop together;
  // starts, where it is not null, those from the begin of the run to the first begin of each, 0 for a step that did not run.
  // rooms: null, or of each of the plan's growths for how many positions there is room along its axis; then input and output
  // lie in one memory. 0: both lie densely, and apart.
  // Gives 0, kBusy, kStopped, kUnfit, kNoMemory, kForked, kThrown, or the code of the kernel that failed: outputs are undefined
  // then.
  int run(const void* const* inputs, void* const* outputs, const int64_t* sizes = nullptr, int64_t* step_ns = nullptr,
          int64_t* starts = nullptr, const int64_t* rooms = nullptr) noexcept;

  // Of the last run: where late value number `index` lies, and its sizes. Valid until the next one.
  virtual const void* late(size_t index, Dims& sizes) const {
    (void)index, (void)sizes;
    return nullptr;
  }
  // Of the last run: how often each step ran, steps that only decide where to go on included; null where each runs once.
  virtual const std::vector<int64_t>* counts() const { return nullptr; }
  // Of the last run: the plan's sizes that are symbols, in order, as they were at its end.
  virtual std::vector<int64_t> symbols() const { return {}; }
  // Why the last run was unfit.
  virtual std::string message() const { return {}; }
  // What was thrown in the last run, where that gave kThrown; once.
  virtual std::exception_ptr take_thrown() { return nullptr; }
  // Values whose sizes the next run finds may have so many bytes; what was refused for being larger, 0: nothing.
  void limit_values(uint64_t bytes) { most_bytes_ = bytes, refused_ = 0; }
  uint64_t refused() const { return refused_; }

  // Of the last run: its code, and the step that failed (-1: none).
  struct LastError {
    int code, step;
  };
  LastError last_error() const noexcept { return last_error_; }

  const Plan& plan() const { return *plan_; }

 protected:
  uint64_t most_bytes_ = UINT64_MAX, refused_ = 0;

  struct Unbound {};
  Session(std::shared_ptr<const Plan> plan, Unbound);

  // A step as the loop needs it.
  struct Step {
    pw_kernel kernel;
    size_t in, out;  // first entries in in_ and out_
    void* workspace;
    const Device* device;
    bool serial;   // run by thread 0 alone
    void* queue;   // of its device; null where the work is done when `run` returns
  };
  // What the threads do between two meetings: one phase of a step, several serial steps, or waiting for queues: before a step
  // of the team, or before the copies.
  struct Stage {
    enum class Kind { begin, serial, everyone, pieces, wait, finish, copies } kind;
    int first = 0, last = 0;  // steps
    int64_t phase = 0;
  };
  // An entry of in_ or out_, or the source of a copy, that lies in the caller's memory.
  struct Patch {
    size_t entry;
    Where where;
    int index;
    uint64_t offset;
  };
  struct Copy {
    const void* source;
    int output;
    uint64_t bytes;
    int value;
  };

  // What a step of a device reads of the caller's, copied to pinned memory before.
  struct Staged {
    int step;
    Patch from;
    void* to;
    uint64_t bytes;
  };

  void allocate();
  void bind_pinned();
  void bind_steps();
  virtual void bind_step(const PlanStep& from, size_t index);
  void* workspace_of(size_t step) const;
  void* stage_input(int step, int value, uint64_t bytes);
  void bind_stages();
  void bind_copies();
  Memory reads_first(const Stage& stage, int index) const;
  virtual void* place_of(int value, size_t entry, std::vector<Patch>& patches) const;
  // All of a run between taking and giving back the session. False when the caller's Stop ended it.
  virtual bool walk(const int64_t* sizes) noexcept;
  void bind_caller(const void* const* inputs, void* const* outputs) noexcept;
  virtual void bind_rooms(const int64_t*) noexcept {}
  Gather run(uint32_t stage, Team& team) noexcept override;
  uint32_t next(uint32_t stage) noexcept override;
  Memory ahead(uint32_t stage, uint32_t index) const noexcept override;
  void run_serial(const Stage& stage) noexcept;
  virtual int run_phase(const Step& step, int s, Team& team) noexcept;
  int run_step(const Step& step, int s, Team& alone) noexcept;
  int run_timed_step(const Step& step, int s, Team& team) noexcept;
  int run_queued_step(const Step& step, int s, Team& alone) noexcept;
  int run_queued_alone(const Step& step, int s, Team& alone) noexcept;
  void set_start(int s, int64_t ns) noexcept;
  int wait_before(int s) noexcept;
  int finish(int code, int& step) noexcept;
  void fail(int step, int code) noexcept;
  void copy_outputs(Team& team) const noexcept;

  std::shared_ptr<const Plan> plan_;
  const Device* wall_;                // the CPU, whose clock is the wall's
  const Schedule schedule_;
  std::vector<DeviceMemory> arenas_, workspaces_;    // per device
  std::vector<DeviceMemory> queue_workspaces_;       // per queue
  std::vector<DeviceMemory> pinned_;                 // for what crosses between a device and the caller's arrays
  std::vector<char*> pinned_outputs_;                // per output: where it lies until the end of the run; null: in place
  std::vector<Staged> staged_;                       // in the order of the steps
  std::unique_ptr<Queues> queues_;                   // null: no device of the plan has any
  std::vector<Step> steps_;
  std::vector<Stage> stages_;  // the first one is for timed runs
  std::vector<Memory> ahead_;  // what each thread reads first behind a stage, stage by stage
  std::vector<const void*> in_;
  std::vector<void*> out_;
  std::vector<const int64_t*> in_sizes_;  // per entry of in_, and of out_
  std::vector<int64_t*> out_sizes_;
  std::vector<Copy> copies_;
  std::vector<Patch> in_patches_, out_patches_, copy_patches_;
  int threads_ = 1;

  // State of the run in progress.
  std::atomic<bool> busy_{false};
  std::atomic<int> failed_step_{INT_MAX};
  std::atomic<int> code_{0};
  int64_t *step_ns_ = nullptr, *starts_ = nullptr;
  std::atomic<bool> late_{false};  // work in a queue failed
  const void* const* inputs_ = nullptr;
  uint64_t begun_ = 0;  // wall clock
  uint64_t mark_ = 0;  // wall clock when all work of the last stage was done; not when somebody noticed
  void* const* outputs_ = nullptr;
  LastError last_error_{0, -1};
};

}  // namespace pw
