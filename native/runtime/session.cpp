#include "runtime/session.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "runtime/flow.h"

namespace pw {
namespace {

constexpr int64_t kNotBegun = INT64_MIN;  // among the starts of a timed run

}  // namespace

std::unique_ptr<Session> Session::make(std::shared_ptr<const Plan> plan) {
  if (plan->straight()) return std::make_unique<Session>(std::move(plan));
  return std::make_unique<FlowSession>(std::move(plan));
}

Session::Session(std::shared_ptr<const Plan> plan, Unbound)
    : plan_(std::move(plan)), wall_(plan_->devices()[0].get()), schedule_(*plan_) {
  allocate();
  if (!schedule_.queues().empty()) queues_ = std::make_unique<Queues>(plan_, schedule_);
  bind_pinned();
}

Session::Session(std::shared_ptr<const Plan> plan) : Session(std::move(plan), Unbound{}) {
  bind_steps();
  bind_copies();
  bind_stages();
}

// The host's values lie in pinned memory where they cross to a device that wants that.
void Session::allocate() {
  const auto& devices = plan_->devices();
  for (const DevicePtr& device : devices)
    if (!device->here())
      throw Error("device " + device->name() + " was opened before this process was forked, and belongs to the process that "
                  "opened it; start processes that use it by 'spawn'");
  DevicePtr pins;
  for (int s = 0; s < static_cast<int>(plan_->steps().size()) && !pins; ++s)
    if (const DevicePtr& device = devices[static_cast<size_t>(plan_->runner(s))];
        device->wants_pinned() && Schedule::transfers(*plan_, s))
      pins = device;
  for (size_t d = 0; d < devices.size(); ++d) {
    const uint64_t bytes = plan_->placement().arena[d];
    const bool pinned = d == 0 && pins && bytes > 0;
    arenas_.emplace_back(pinned ? pins : devices[d], pinned ? PW_MEMORY_PINNED : PW_MEMORY_DEVICE, bytes);
    workspaces_.emplace_back(devices[d], PW_MEMORY_DEVICE, devices[d]->host() ? plan_->workspace()[d] : 0);
  }
  for (const auto& q : schedule_.queues())
    queue_workspaces_.emplace_back(devices[static_cast<size_t>(q.device)], PW_MEMORY_DEVICE, q.workspace);
}

// An output that crosses to a device that wants pinned memory lies there until the end of the run.
void Session::bind_pinned() {
  pinned_outputs_.assign(plan_->outputs().size(), nullptr);
  for (int s = 0; s < static_cast<int>(plan_->steps().size()); ++s) {
    const DevicePtr& device = plan_->devices()[static_cast<size_t>(plan_->runner(s))];
    if (!device->wants_pinned() || !Schedule::transfers(*plan_, s)) continue;
    for (const auto* list : {&plan_->steps()[s].in, &plan_->steps()[s].out})
      for (int v : *list) {
        const Spot& spot = plan_->placement().values[v];
        if (spot.where != Where::output || pinned_outputs_[spot.root]) continue;
        pinned_.emplace_back(device, PW_MEMORY_PINNED, plan_->values()[plan_->outputs()[spot.root]].bytes);
        pinned_outputs_[spot.root] = pinned_.back().data();
      }
  }
}

// Where a step of a device finds an input that lies in the caller's memory: in pinned memory, when the device wants that.
void* Session::stage_input(int step, int value, uint64_t bytes) {
  const DevicePtr& device = plan_->devices()[static_cast<size_t>(plan_->runner(step))];
  const Spot& spot = plan_->placement().values[value];
  if (device->host() || !device->wants_pinned() || spot.where != Where::input || !plan_->straight()) return nullptr;
  pinned_.emplace_back(device, PW_MEMORY_PINNED, bytes);
  staged_.push_back({step, {0, spot.where, spot.root, spot.offset}, pinned_.back().data(), bytes});
  return pinned_.back().data();
}

void Session::bind_steps() {
  for (size_t s = 0; s < plan_->steps().size(); ++s) bind_step(plan_->steps()[s], s);
}

void* Session::workspace_of(size_t step) const {
  const int queue = schedule_.queue(static_cast<int>(step));
  return queue < 0 ? workspaces_[static_cast<size_t>(plan_->runner(static_cast<int>(step)))].data()
                   : queue_workspaces_[static_cast<size_t>(queue)].data();
}

void Session::bind_step(const PlanStep& from, size_t index) {
  const auto s = static_cast<int>(index);
  Step step{from.kernel->raw(), in_.size(), out_.size(), workspace_of(index),
            plan_->devices()[static_cast<size_t>(plan_->runner(s))].get(), from.kernel->serial(),
            queues_ ? queues_->of(s) : nullptr};
  for (int v : from.in) {
    in_sizes_.push_back(from.kernel->in()[in_.size() - step.in].sizes.data());
    void* staged = stage_input(s, v, plan_->values()[static_cast<size_t>(v)].bytes);
    in_.push_back(staged ? staged : place_of(v, in_.size(), in_patches_));
  }
  for (int v : from.out) {
    out_sizes_.push_back(const_cast<int64_t*>(from.kernel->out()[out_.size() - step.out].sizes.data()));  // none is open
    out_.push_back(place_of(v, out_.size(), out_patches_));
  }
  if (!step.serial) threads_ = plan_->threads();
  steps_.push_back(step);
}

void Session::bind_copies() {
  for (size_t j = 0; j < plan_->outputs().size(); ++j) {
    const int v = plan_->outputs()[j];
    const Spot& spot = plan_->placement().values[v];
    const bool in_place = spot.where == Where::output && spot.root == static_cast<int>(j) && spot.offset == 0;
    if (in_place && !pinned_outputs_[j]) continue;
    const void* source = place_of(v, copies_.size(), copy_patches_);
    copies_.push_back({source, static_cast<int>(j), plan_->values()[v].bytes, v});
  }
}

void Session::bind_stages() {
  using Kind = Stage::Kind;
  stages_.push_back({Kind::begin});
  uint64_t stages = 3;  // that one, the end of the queues and the copies
  for (const Step& step : steps_) stages += step.serial ? 1 : std::max<uint64_t>(1, step.kernel.phases) + (queues_ ? 1 : 0);
  constexpr uint64_t most = uint64_t{1} << 24;
  if (stages > most)
    throw Error("a plan of " + std::to_string(stages) + " stages: expected at most " + std::to_string(most) +
                "; take a smaller batch");
  for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    if (!step.serial) {
      if (schedule_.host_waits(s)) stages_.push_back({Kind::wait, s, s});
      const auto phases = static_cast<int64_t>(step.kernel.phases);
      for (int64_t phase = 0; phase < std::max<int64_t>(1, phases); ++phase)
        stages_.push_back({phases ? Kind::pieces : Kind::everyone, s, s + 1, phase});
    } else if (stages_.back().kind == Kind::serial) {
      ++stages_.back().last;  // two steps of thread 0 need no meeting between them
    } else {
      stages_.push_back({Kind::serial, s, s + 1});
    }
  }
  if (queues_ && !copies_.empty()) stages_.push_back({Kind::finish});
  if (!copies_.empty()) stages_.push_back({Kind::copies});
  for (size_t stage = 1; stage <= stages_.size(); ++stage)
    for (int index = 0; index < threads_; ++index)
      ahead_.push_back(stage < stages_.size() ? reads_first(stages_[stage], index) : Memory{});
}

Memory Session::reads_first(const Stage& stage, int index) const {
  if (stage.first == stage.last || (stage.kind == Stage::Kind::serial && index > 0)) return {};
  const Step& step = steps_[static_cast<size_t>(stage.first)];
  Memory memory;
  if (step.kernel.reads_first)
    step.kernel.reads_first(step.kernel.self, static_cast<uint64_t>(stage.phase), static_cast<uint32_t>(index),
                            static_cast<uint32_t>(step.serial ? 1 : threads_), &memory.data, &memory.bytes);
  return memory;
}

// The address of a value, or null and a patch where it depends on the call.
void* Session::place_of(int value, size_t entry, std::vector<Patch>& patches) const {
  const Spot& spot = plan_->placement().values[value];
  if (spot.where == Where::arena) return arenas_[plan_->device_of(value)].data() + spot.offset;
  if (spot.where == Where::output && pinned_outputs_[spot.root]) return pinned_outputs_[spot.root] + spot.offset;
  patches.push_back({entry, spot.where, spot.root, spot.offset});
  return nullptr;
}

void Session::bind_caller(const void* const* inputs, void* const* outputs) noexcept {
  auto address = [&](const Patch& p) -> const char* {
    const void* base = p.where == Where::input ? inputs[p.index] : outputs[p.index];
    return static_cast<const char*>(base) + p.offset;
  };
  for (const Patch& p : in_patches_) in_[p.entry] = address(p);
  // The contract writes outputs only; one that lies in an input is all there already, and its kernel skips the copy.
  for (const Patch& p : out_patches_) out_[p.entry] = const_cast<char*>(address(p));
  for (const Patch& p : copy_patches_) copies_[p.entry].source = address(p);
}

int Session::run(const void* const* inputs, void* const* outputs, const int64_t* sizes, int64_t* step_ns,
                 int64_t* starts, const int64_t* rooms) noexcept {
  for (const DevicePtr& device : plan_->devices())
    if (!device->here()) return kForked;
  if (busy_.exchange(true, std::memory_order_acquire)) return kBusy;
  bind_caller(inputs, outputs);
  bind_rooms(rooms);
  inputs_ = inputs;
  outputs_ = outputs;
  step_ns_ = step_ns;
  starts_ = starts;
  if (step_ns) std::fill(step_ns, step_ns + steps_.size(), 0);
  if (starts) std::fill(starts, starts + steps_.size(), kNotBegun);
  failed_step_.store(INT_MAX, std::memory_order_relaxed);
  code_.store(0, std::memory_order_relaxed);
  late_.store(false, std::memory_order_relaxed);
  begun_ = wall_->now();
  int code = queues_ && step_ns ? queues_->begin_timed() : 0;
  const bool whole = code != 0 || walk(sizes);
  int step = failed_step_.load(std::memory_order_relaxed);
  if (code == 0) code = code_.load(std::memory_order_relaxed);
  if (!whole && code == 0) code = kStopped;
  if (step == INT_MAX) step = -1;
  code = finish(code, step);
  if (queues_ && step_ns) {
    const int late = plan_->straight() ? queues_->times(step_ns, starts) : 0;
    if (late != 0 && code == 0) code = late;
    queues_->end_timed();
  }
  if (starts) std::replace(starts, starts + steps_.size(), kNotBegun, int64_t{0});
  last_error_ = {code, step};
  busy_.store(false, std::memory_order_release);
  return code;
}

bool Session::walk(const int64_t*) noexcept {
  return parallel(threads_, step_ns_ ? 0 : 1, static_cast<uint32_t>(stages_.size()), *this);
}

// Waits for the queues: nothing of this run may still be at work in the arenas when the next one starts. `code`, `step`: what
// failed so far; what failed in a queue says it better than who waited for it.
int Session::finish(int code, int& step) noexcept {
  if (!queues_) return code;
  int at = -1;
  const int late = queues_->finish(at);
  if (late == 0 || (code != 0 && !late_.load(std::memory_order_relaxed))) return code;
  step = at;
  return late;
}

Gather Session::run(uint32_t at, Team& team) noexcept {
  const Stage& stage = stages_[at];
  switch (stage.kind) {
    case Stage::Kind::begin: return Gather::everyone;  // some may still be waking up, which is no step's time
    case Stage::Kind::serial:
      if (team.index == 0) run_serial(stage);
      return Gather::first;
    case Stage::Kind::wait:
      if (team.index == 0)
        if (const int code = wait_before(stage.first); code != 0) fail(stage.first, code);
      return Gather::first;
    case Stage::Kind::finish:
      if (team.index == 0) {
        int step = -1;
        if (const int code = queues_->finish(step); code != 0) fail(step, code);
      }
      return Gather::first;
    case Stage::Kind::copies: copy_outputs(team); return Gather::pieces;
    default: break;
  }
  team.phase = stage.phase;
  if (const int code = run_phase(steps_[static_cast<size_t>(stage.first)], stage.first, team); code != 0)
    fail(stage.first, code);
  return stage.kind == Stage::Kind::pieces ? Gather::pieces : Gather::everyone;
}

// What the host must wait for before a step. Gives the code of work that failed.
int Session::wait_before(int s) noexcept {
  if (!schedule_.host_waits(s)) return 0;
  const int code = queues_->wait(s);
  if (code != 0) late_.store(true, std::memory_order_relaxed);
  return code;
}

Memory Session::ahead(uint32_t at, uint32_t index) const noexcept {
  return ahead_[at * static_cast<size_t>(threads_) + index];
}

uint32_t Session::next(uint32_t at) noexcept {
  const Stage& stage = stages_[at];
  if (step_ns_ && stage.kind != Stage::Kind::serial) {
    const uint64_t now = wall_->now();
    if (stage.first < stage.last) {
      step_ns_[stage.first] += static_cast<int64_t>(now - mark_);
      if (stage.phase == 0) set_start(stage.first, static_cast<int64_t>(mark_ - begun_));
    }
    mark_ = now;
  }
  const bool failed = failed_step_.load(std::memory_order_relaxed) != INT_MAX;
  return failed ? static_cast<uint32_t>(stages_.size()) : at + 1;
}

void Session::run_serial(const Stage& stage) noexcept {
  Team alone;
  alone.stop = Stop::here();  // the first thread is the one that called
  for (int s = stage.first; s < stage.last; ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    int code = wait_before(s);
    if (step_ns_) mark_ = wall_->now();  // what it waited for is other steps' time
    if (code == 0) code = step.queue   ? run_queued_step(step, s, alone)
                          : step_ns_ ? run_timed_step(step, s, alone)
                                     : run_step(step, s, alone);
    if (code != 0) return fail(s, code);
    if (step_ns_ && step.queue) mark_ = wall_->now();
  }
}

int Session::run_phase(const Step& step, int s, Team& team) noexcept {
  const pw_context context{.size = sizeof context, .step = static_cast<uint32_t>(s), .in = in_.data() + step.in,
                           .out = out_.data() + step.out, .in_sizes = in_sizes_.data() + step.in,
                           .out_sizes = out_sizes_.data() + step.out, .workspace = step.workspace, .team = &team,
                           .queue = step.queue, .take = nullptr, .owner = nullptr};
  return step.kernel.run(step.kernel.self, &context);
}

// All phases, by one thread.
int Session::run_step(const Step& step, int s, Team& alone) noexcept {
  int code = 0;
  const auto phases = std::max<int64_t>(1, static_cast<int64_t>(step.kernel.phases));
  for (alone.phase = 0; code == 0 && alone.phase < phases; ++alone.phase) code = run_phase(step, s, alone);
  return code;
}

// Puts a step into the queue of its device; its time is told by the events around it.
int Session::run_queued_step(const Step& step, int s, Team& alone) noexcept {
  const auto first = std::lower_bound(staged_.begin(), staged_.end(), s, [](const Staged& a, int b) { return a.step < b; });
  for (auto copy = first; copy != staged_.end() && copy->step == s; ++copy)
    std::memcpy(copy->to, static_cast<const char*>(inputs_[copy->from.index]) + copy->from.offset, copy->bytes);
  if (!plan_->straight()) return run_queued_alone(step, s, alone);
  if (const int code = queues_->before(s); code != 0) return code;
  if (const int code = run_step(step, s, alone); code != 0) return code;
  return queues_->after(s);
}

// The same in a plan with branches and loops. Which steps came before is not known: the host waits for each.
int Session::run_queued_alone(const Step& step, int s, Team& alone) noexcept {
  int at = -1;
  if (const int code = queues_->record_start(s); code != 0) return code;
  if (const int code = run_step(step, s, alone); code != 0) return code;
  if (const int code = queues_->record_end(s); code != 0) return code;
  if (const int code = queues_->finish(at); code != 0) return code;
  if (!step_ns_) return 0;
  int64_t ns = 0, start = 0;
  const int code = queues_->time(s, ns, start);
  step_ns_[s] += ns;
  set_start(s, start);
  return code;
}

// What runs in several rounds has the begin of the first.
void Session::set_start(int s, int64_t ns) noexcept {
  if (starts_ && starts_[s] == kNotBegun) starts_[s] = ns;
}

// step: -1 where it is not known.
void Session::fail(int step, int code) noexcept {
  int none = 0;
  code_.compare_exchange_strong(none, code, std::memory_order_relaxed);
  failed_step_.store(step, std::memory_order_relaxed);
}

// A serial step of the host: timed by its device's clock where that is not the wall's.
int Session::run_timed_step(const Step& step, int s, Team& team) noexcept {
  const bool own_clock = step.device->clock() != PW_CLOCK_WALL;
  const uint64_t before = own_clock ? step.device->now() : mark_;
  set_start(s, static_cast<int64_t>(mark_ - begun_));
  const int code = run_step(step, s, team);
  const uint64_t wall = wall_->now();
  step_ns_[s] += static_cast<int64_t>((own_clock ? step.device->now() : wall) - before);
  mark_ = own_clock ? wall_->now() : wall;
  return code;
}

void Session::copy_outputs(Team& team) const noexcept {
  for (const Copy& copy : copies_)
    team.each(static_cast<int64_t>(copy.bytes), 1 << 16, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(outputs_[copy.output]) + first, static_cast<const char*>(copy.source) + first,
                  static_cast<size_t>(last - first));
    });
}

}  // namespace pw
