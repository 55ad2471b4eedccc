// Session: one caller's state over a plan. run() is the hot path.
#pragma once
#include <atomic>
#include <climits>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/threads.h"
#include "runtime/plan.h"

namespace pw {

// Memory of a device, given back when it goes out of scope.
class DeviceMemory {
 public:
  DeviceMemory(DevicePtr device, uint64_t bytes) : device_(std::move(device)), memory_(device_->allocate(bytes)) {}
  DeviceMemory(DeviceMemory&& other) noexcept
      : device_(std::move(other.device_)), memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory() {
    if (memory_) device_->release(memory_);
  }
  char* data() const { return static_cast<char*>(memory_); }

 private:
  DevicePtr device_;
  void* memory_;
};

class Session : protected Stages {
 public:
  static constexpr int kBusy = -1;     // another thread is running this session
  static constexpr int kStopped = -2;  // the caller's Stop ended the run
  static constexpr int kUnfit = -3;    // the plan does not do for these sizes; `message` says why
  static constexpr int kNoMemory = -4;

  // Of a plan of any kind. Allocates arenas and workspaces. Throws std::bad_alloc.
  static std::unique_ptr<Session> make(std::shared_ptr<const Plan> plan);

  // Of a straight plan.
  explicit Session(std::shared_ptr<const Plan> plan);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // inputs, outputs: one pointer each, in the plan's order, aligned to their elements; no output may overlap an input
  // or another output. Inputs are read in place; outputs are written in place where the placement allows, else copied
  // at the end. sizes: those that the plan is given (PlanSizes), null where it has none. step_ns: null, or receives the
  // nanoseconds of each step, by the clock of its device where that is not wall time; of all rounds of a loop together.
  // Gives 0, kBusy, kStopped, kUnfit, kNoMemory, or the code of the kernel that failed: outputs are undefined then.
  int run(const void* const* inputs, void* const* outputs, const int64_t* sizes = nullptr,
          int64_t* step_ns = nullptr) noexcept;

  // Of the last run: where late value number `index` lies, and its sizes. Valid until the next one.
  virtual const void* late(size_t index, Dims& sizes) const {
    (void)index, (void)sizes;
    return nullptr;
  }
  // Why the last run was unfit.
  virtual std::string message() const { return {}; }

  // Of the last run: its code, and the step that failed (-1: none).
  struct LastError {
    int code, step;
  };
  LastError last_error() const noexcept { return last_error_; }

  const Plan& plan() const { return *plan_; }

 protected:
  struct Unbound {};
  Session(std::shared_ptr<const Plan> plan, Unbound);

  // A step as the loop needs it.
  struct Step {
    pw_kernel kernel;
    size_t in, out;  // first entries in in_ and out_
    void* workspace;
    const Device* device;
    bool serial;       // run by thread 0 alone
    bool synchronise;  // the device must be done before the next step
  };
  // What the threads do between two meetings: one phase of a step, or several serial steps.
  struct Stage {
    enum class Kind { begin, serial, everyone, pieces, copies } kind;
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

  void bind_steps();
  virtual void bind_step(const PlanStep& from, size_t index);
  void bind_stages();
  void bind_copies();
  Memory reads_first(const Stage& stage, int index) const;
  virtual void* place_of(int value, size_t entry, std::vector<Patch>& patches) const;
  // All of a run between taking and giving back the session. False when the caller's Stop ended it.
  virtual bool walk(const int64_t* sizes) noexcept;
  void bind_caller(const void* const* inputs, void* const* outputs) noexcept;
  Gather run(uint32_t stage, Team& team) noexcept override;
  uint32_t next(uint32_t stage) noexcept override;
  Memory ahead(uint32_t stage, uint32_t index) const noexcept override;
  void run_serial(const Stage& stage) noexcept;
  virtual int run_phase(const Step& step, Team& team) noexcept;
  int run_step(const Step& step, Team& alone) noexcept;
  int run_timed_step(const Step& step, int s, Team& team) noexcept;
  void fail(int step, int code) noexcept;
  void copy_outputs(Team& team) const noexcept;

  std::shared_ptr<const Plan> plan_;
  const Device* wall_;                // the CPU, whose clock is the wall's
  std::vector<DeviceMemory> memory_;  // per device: arena, workspace
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
  int64_t* step_ns_ = nullptr;
  uint64_t mark_ = 0;  // wall clock when all work of the last stage was done; not when somebody noticed
  void* const* outputs_ = nullptr;
  LastError last_error_{0, -1};
};

}  // namespace pw
