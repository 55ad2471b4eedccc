// Queues of devices: which steps of a plan run in which queue, and what must wait for what.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/device.h"
#include "runtime/plan.h"

namespace pw {

// Bytes [first, last) of a space, an arena or an array of the caller, that a step reads or writes.
struct Touch {
  int space;
  uint64_t first, last;
  bool write;
};

// A step, or a part of one, as far as order matters. queue: of a list of queues; -1: the host does it at once.
struct QueuedWork {
  int queue = -1;
  std::vector<Touch> touches;
};

// What must be over before a step begins, as numbers of steps in queues. host: the host waits for them. queue: the step's
// own queue does; they are of other queues of its device. record: somebody waits for this step.
struct StepWaits {
  std::vector<int> host, queue;
  bool record = false;
};

// The least waits that keep any two pieces of work apart of which one writes what the other touches. Work of one queue keeps
// its order, and the host does one after another. devices: of each queue.
std::vector<StepWaits> waits_of(const std::vector<QueuedWork>& work, const std::vector<int>& devices);

// A plan's steps in queues: the work of each device that is not on host memory in one, its transfers in queues of their own
// where the device has them.
class Schedule {
 public:
  explicit Schedule(const Plan& plan);

  struct Queue {
    int device;  // index into plan.devices()
    uint32_t use;
    uint64_t workspace;  // bytes
  };
  const std::vector<Queue>& queues() const { return queues_; }  // none: all is on host memory
  int queue(int step) const { return work_.empty() ? -1 : work_[static_cast<size_t>(step)].queue; }
  const StepWaits& waits(int step) const { return waits_[static_cast<size_t>(step)]; }
  bool host_waits(int step) const { return !waits_.empty() && !waits(step).host.empty(); }
  // Whether a step of a device reads or writes memory of the host, or of another device.
  static bool transfers(const Plan& plan, int step);

 private:
  int find_queue(const Plan& plan, int step);

  std::vector<Queue> queues_;
  std::vector<QueuedWork> work_;
  std::vector<StepWaits> waits_;
};

// The queues of one session and the events between them. For one thread at a time.
class Queues {
 public:
  // Throws Error where a device makes none.
  Queues(std::shared_ptr<const Plan> plan, const Schedule& schedule);
  Queues(const Queues&) = delete;
  ~Queues();

  // The queue of a step; null for a step of the host.
  void* of(int step) const;
  // Waits for what the host must wait for before a step. Gives 0 or the code of work that failed.
  int wait(int step) noexcept;
  // Around the call that puts a step into its queue.
  int before(int step) noexcept;
  int after(int step) noexcept;
  // Waits for all. Gives 0, or the code of the first work that failed with its step (-1: not known).
  int finish(int& step) noexcept;

  // Of a timed run, before its first step and after `finish`: the nanoseconds of the queued steps by the clock of their
  // device and, where `starts` is not null, from the begin of the run to theirs. A code each.
  int begin_timed() noexcept;
  int times(int64_t* ns, int64_t* starts) noexcept;
  void end_timed() noexcept { timed_ = false; }
  // Of a step that the host waits for at once, and that may run again: what `before` and `after` do for times alone, and the
  // times of its last run. A code each.
  int record_start(int step) noexcept;
  int record_end(int step) noexcept;
  int time(int step, int64_t& ns, int64_t& start) noexcept;

 private:
  struct Event {
    const Device* device = nullptr;
    void* handle = nullptr;
  };
  static Event make_event(const Device& device);
  int record(const Event& event, int step) noexcept;
  const Device& device_of(int queue) const {
    return *plan_->devices()[static_cast<size_t>(schedule_.queues()[static_cast<size_t>(queue)].device)];
  }
  void give_back() noexcept;

  std::shared_ptr<const Plan> plan_;
  const Schedule& schedule_;
  std::vector<void*> queues_;
  std::vector<Event> events_;                   // per step, where somebody waits for it
  std::vector<Event> origins_, starts_, ends_;  // of timed runs: per queue, per step, per step
  bool timed_ = false;
};

}  // namespace pw
