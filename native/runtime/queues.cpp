#include "runtime/queues.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace pw {
namespace {

// For each queue the last step of it that is known to be over; -1 = none.
using Known = std::vector<int>;

void learn(Known& known, const Known& more) {
  for (size_t q = 0; q < known.size(); ++q) known[q] = std::max(known[q], more[q]);
}

// Who touched a space, as far as somebody may still have to wait for it.
class Space {
 public:
  // The earlier steps that must be over before `step` touches these bytes.
  template <class Found>
  void touch(int step, const Touch& t, Found&& found) {
    if (t.first == t.last) return;
    for (const Access& a : accesses_)
      if (a.step != step && (a.write || t.write) && a.first < t.last && t.first < a.last) found(a.step);
    // Who waits for this step waits for those before it, where it covers all that they touched.
    if (t.write)
      std::erase_if(accesses_, [&](const Access& a) { return a.step != step && t.first <= a.first && a.last <= t.last; });
    accesses_.push_back({step, t.first, t.last, t.write});
  }

 private:
  struct Access {
    int step;
    uint64_t first, last;
    bool write;
  };
  std::vector<Access> accesses_;
};

}  // namespace

std::vector<StepWaits> waits_of(const std::vector<QueuedWork>& work, const std::vector<int>& devices) {
  std::vector<StepWaits> waits(work.size());
  std::map<int, Space> spaces;
  Known host(devices.size(), -1);
  std::vector<Known> queues(devices.size(), host), done(work.size());  // what each queue knows, and knew behind each step
  for (int s = 0; s < static_cast<int>(work.size()); ++s) {
    const QueuedWork& one = work[static_cast<size_t>(s)];
    StepWaits& wait = waits[static_cast<size_t>(s)];
    Known needed(devices.size(), -1);  // the last step of each queue that must be over
    for (const Touch& t : one.touches)
      spaces[t.space].touch(s, t, [&](int before) {
        const int queue = work[static_cast<size_t>(before)].queue;
        if (queue >= 0 && queue != one.queue) needed[queue] = std::max(needed[queue], before);
      });
    Known own = host;  // what the host knows when it puts the step into its queue is over
    if (one.queue >= 0) learn(own, queues[one.queue]);
    // The latest first: what it waited for need not be waited for again.
    std::vector<size_t> order(devices.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return needed[a] > needed[b]; });
    for (size_t q : order) {
      if (needed[q] <= own[q]) continue;
      const bool same = one.queue >= 0 && devices[q] == devices[one.queue];
      (same ? wait.queue : wait.host).push_back(needed[q]);
      waits[static_cast<size_t>(needed[q])].record = true;
      learn(own, done[static_cast<size_t>(needed[q])]);
      if (!same) learn(host, done[static_cast<size_t>(needed[q])]);
    }
    if (one.queue < 0) continue;
    queues[one.queue] = own;
    done[static_cast<size_t>(s)] = std::move(own);
    done[static_cast<size_t>(s)][one.queue] = s;  // all before it in its queue is over too
    queues[one.queue][one.queue] = s;
  }
  return waits;
}

// ---- schedule ------------------------------------------------------------------------------------------------------

bool Schedule::transfers(const Plan& plan, int step) {
  const int runner = plan.runner(step);
  if (plan.devices()[static_cast<size_t>(runner)]->host()) return false;
  const PlanStep& s = plan.steps()[static_cast<size_t>(step)];
  const auto elsewhere = [&](int v) { return plan.device_of(v) != runner; };
  return std::any_of(s.in.begin(), s.in.end(), elsewhere) || std::any_of(s.out.begin(), s.out.end(), elsewhere);
}

Schedule::Schedule(const Plan& plan) {
  const auto& devices = plan.devices();
  if (std::all_of(devices.begin(), devices.end(), [](const DevicePtr& d) { return d->host(); })) return;
  const int arrays = static_cast<int>(devices.size()), results = arrays + static_cast<int>(plan.inputs().size());
  const auto touch = [&](int value, bool write) {
    const Spot& spot = plan.placement().values[static_cast<size_t>(value)];
    const int space = spot.where == Where::arena   ? plan.device_of(value)
                      : spot.where == Where::input ? arrays + spot.root
                                                   : results + spot.root;
    return Touch{space, spot.offset, spot.offset + plan.values()[static_cast<size_t>(value)].bytes, write};
  };
  for (int s = 0; s < static_cast<int>(plan.steps().size()); ++s) {
    QueuedWork work{find_queue(plan, s), {}};
    for (int v : plan.steps()[static_cast<size_t>(s)].in) work.touches.push_back(touch(v, false));
    for (int v : plan.steps()[static_cast<size_t>(s)].out) work.touches.push_back(touch(v, true));
    work_.push_back(std::move(work));
  }
  std::vector<int> owners;
  for (const Queue& q : queues_) owners.push_back(q.device);
  waits_ = waits_of(work_, owners);
}

int Schedule::find_queue(const Plan& plan, int step) {
  const int runner = plan.runner(step);
  const Device& device = *plan.devices()[static_cast<size_t>(runner)];
  if (device.host()) return -1;
  uint32_t use = PW_QUEUE_WORK;
  if (device.table()->copy_queues > 0 && transfers(plan, step)) {
    const auto& out = plan.steps()[static_cast<size_t>(step)].out;
    const bool back = std::any_of(out.begin(), out.end(), [&](int v) { return plan.device_of(v) != runner; });
    use = back && device.table()->copy_queues > 1 ? PW_QUEUE_COPY_BACK : PW_QUEUE_COPY;
  }
  auto found = std::find_if(queues_.begin(), queues_.end(), [&](const Queue& q) { return q.device == runner && q.use == use; });
  if (found == queues_.end()) found = queues_.insert(queues_.end(), {runner, use, 0});
  found->workspace = std::max(found->workspace, plan.steps()[static_cast<size_t>(step)].kernel->raw().workspace_bytes);
  return static_cast<int>(found - queues_.begin());
}

// ---- queues --------------------------------------------------------------------------------------------------------

Queues::Queues(std::shared_ptr<const Plan> plan, const Schedule& schedule) : plan_(std::move(plan)), schedule_(schedule) {
  try {
    for (size_t q = 0; q < schedule.queues().size(); ++q) {
      const Device& device = device_of(static_cast<int>(q));
      queues_.push_back(nullptr);
      if (const int code = device.table()->queue_create(device.handle(), schedule.queues()[q].use, &queues_[q]); code != 0)
        throw Error("device " + device.name() + " makes no queue: code " + std::to_string(code));
    }
    events_.resize(plan_->steps().size());
    for (int s = 0; s < static_cast<int>(events_.size()); ++s)
      if (schedule.waits(s).record) events_[static_cast<size_t>(s)] = make_event(device_of(schedule.queue(s)));
  } catch (...) {
    give_back();
    throw;
  }
}

Queues::~Queues() { give_back(); }

void Queues::give_back() noexcept {
  for (size_t q = 0; q < queues_.size(); ++q) {
    const Device& device = device_of(static_cast<int>(q));
    uint32_t step;
    if (queues_[q] && device.here()) device.table()->queue_wait(device.handle(), queues_[q], &step);
  }
  for (auto* list : {&events_, &origins_, &starts_, &ends_})
    for (const Event& e : *list)
      if (e.handle && e.device->here()) e.device->table()->event_destroy(e.device->handle(), e.handle);
  for (size_t q = 0; q < queues_.size(); ++q) {
    const Device& device = device_of(static_cast<int>(q));
    if (queues_[q] && device.here()) device.table()->queue_destroy(device.handle(), queues_[q]);
  }
}

Queues::Event Queues::make_event(const Device& device) {
  Event event{&device, nullptr};
  if (const int code = device.table()->event_create(device.handle(), &event.handle); code != 0)
    throw Error("device " + device.name() + " makes no event: code " + std::to_string(code));
  return event;
}

void* Queues::of(int step) const {
  const int queue = schedule_.queue(step);
  return queue < 0 ? nullptr : queues_[static_cast<size_t>(queue)];
}

int Queues::wait(int step) noexcept {
  for (int before : schedule_.waits(step).host) {
    const Event& event = events_[static_cast<size_t>(before)];
    if (const int code = event.device->table()->event_wait(event.device->handle(), event.handle); code != 0) return code;
  }
  return 0;
}

int Queues::before(int step) noexcept {
  void* queue = of(step);
  for (int earlier : schedule_.waits(step).queue) {
    const Event& event = events_[static_cast<size_t>(earlier)];
    if (const int code = event.device->table()->queue_wait_event(event.device->handle(), queue, event.handle); code != 0)
      return code;
  }
  return record_start(step);
}

int Queues::after(int step) noexcept {
  if (const int code = record_end(step); code != 0) return code;
  return schedule_.waits(step).record ? record(events_[static_cast<size_t>(step)], step) : 0;
}

int Queues::record(const Event& event, int step) noexcept {
  return event.device->table()->event_record(event.device->handle(), event.handle, of(step));
}

int Queues::record_start(int step) noexcept { return timed_ ? record(starts_[static_cast<size_t>(step)], step) : 0; }

int Queues::record_end(int step) noexcept { return timed_ ? record(ends_[static_cast<size_t>(step)], step) : 0; }

int Queues::finish(int& step) noexcept {
  int first = 0;
  uint32_t failed = PW_NO_STEP;
  for (size_t q = 0; q < queues_.size(); ++q) {
    const Device& device = device_of(static_cast<int>(q));
    uint32_t at = PW_NO_STEP;
    const int code = device.table()->queue_wait(device.handle(), queues_[q], &at);
    if (code == 0 || (first != 0 && at >= failed)) continue;
    first = code;
    failed = at;
  }
  step = failed < plan_->steps().size() ? static_cast<int>(failed) : -1;
  return first;
}

int Queues::begin_timed() noexcept {
  try {
    if (starts_.empty()) {
      std::vector<Event> starts(plan_->steps().size()), ends = starts;
      for (size_t q = origins_.size(); q < queues_.size(); ++q) origins_.push_back(make_event(device_of(static_cast<int>(q))));
      starts_ = std::move(starts);
      ends_ = std::move(ends);
    }
    for (int s = 0; s < static_cast<int>(starts_.size()); ++s) {
      if (schedule_.queue(s) < 0 || ends_[static_cast<size_t>(s)].handle) continue;
      auto& start = starts_[static_cast<size_t>(s)];
      if (!start.handle) start = make_event(device_of(schedule_.queue(s)));
      ends_[static_cast<size_t>(s)] = make_event(device_of(schedule_.queue(s)));
    }
  } catch (...) {
    return ENOMEM;
  }
  timed_ = true;
  for (size_t q = 0; q < queues_.size(); ++q) {
    const Event& origin = origins_[q];
    if (const int code = origin.device->table()->event_record(origin.device->handle(), origin.handle, queues_[q]); code != 0)
      return code;
  }
  return 0;
}

int Queues::times(int64_t* ns, int64_t* starts) noexcept {
  int code = 0;
  for (int s = 0; s < static_cast<int>(starts_.size()); ++s) {
    if (schedule_.queue(s) < 0) continue;
    int64_t start = 0;
    const int own = time(s, ns[s], start);
    if (code == 0) code = own;
    if (starts) starts[s] = start;
  }
  return code;
}

int Queues::time(int step, int64_t& ns, int64_t& start) noexcept {
  int code = 0;
  const auto at = [&](const Event& event) {
    uint64_t time = 0;
    const int own = event.device->table()->event_time(event.device->handle(), event.handle, &time);
    if (code == 0) code = own;
    return static_cast<int64_t>(time);
  };
  const int64_t begin = at(starts_[static_cast<size_t>(step)]);
  ns = at(ends_[static_cast<size_t>(step)]) - begin;
  start = begin - at(origins_[static_cast<size_t>(schedule_.queue(step))]);
  return code;
}

}  // namespace pw
