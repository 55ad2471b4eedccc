#include "runtime/session.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "runtime/flow.h"

namespace pw {

std::unique_ptr<Session> Session::make(std::shared_ptr<const Plan> plan) {
  if (plan->straight()) return std::make_unique<Session>(std::move(plan));
  return std::make_unique<FlowSession>(std::move(plan));
}

Session::Session(std::shared_ptr<const Plan> plan, Unbound)
    : plan_(std::move(plan)), wall_(plan_->devices()[0].get()) {
  for (size_t d = 0; d < plan_->devices().size(); ++d) {
    memory_.emplace_back(plan_->devices()[d], plan_->placement().arena[d]);
    memory_.emplace_back(plan_->devices()[d], plan_->workspace()[d]);
  }
}

Session::Session(std::shared_ptr<const Plan> plan) : Session(std::move(plan), Unbound{}) {
  bind_steps();
  bind_copies();
  bind_stages();
}

void Session::bind_steps() {
  for (size_t s = 0; s < plan_->steps().size(); ++s) bind_step(plan_->steps()[s], s);
}

void Session::bind_step(const PlanStep& from, size_t index) {
  const int runner = plan_->runner(static_cast<int>(index));
  Step step{from.kernel->raw(), in_.size(), out_.size(), memory_[2 * static_cast<size_t>(runner) + 1].data(),
            plan_->devices()[static_cast<size_t>(runner)].get(), from.kernel->serial(), false};
  for (int v : from.in) {
    in_sizes_.push_back(from.kernel->in()[in_.size() - step.in].sizes.data());
    in_.push_back(place_of(v, in_.size(), in_patches_));
    step.synchronise |= runner != 0 && plan_->device_of(v) != runner;
  }
  for (int v : from.out) {
    out_sizes_.push_back(const_cast<int64_t*>(from.kernel->out()[out_.size() - step.out].sizes.data()));  // none is open
    out_.push_back(place_of(v, out_.size(), out_patches_));
    step.synchronise |= runner != 0 && plan_->device_of(v) != runner;
  }
  if (!step.serial) threads_ = plan_->threads();
  steps_.push_back(step);
}

void Session::bind_copies() {
  for (size_t j = 0; j < plan_->outputs().size(); ++j) {
    const int v = plan_->outputs()[j];
    const Spot& spot = plan_->placement().values[v];
    if (spot.where == Where::output && spot.root == static_cast<int>(j) && spot.offset == 0) continue;
    const void* source = place_of(v, copies_.size(), copy_patches_);
    copies_.push_back({source, static_cast<int>(j), plan_->values()[v].bytes, v});
  }
}

void Session::bind_stages() {
  using Kind = Stage::Kind;
  stages_.push_back({Kind::begin});
  uint64_t stages = 2;  // that one and the copies
  for (const Step& step : steps_) stages += step.serial ? 1 : std::max<uint64_t>(1, step.kernel.phases);
  constexpr uint64_t most = uint64_t{1} << 24;
  if (stages > most)
    throw Error("a plan of " + std::to_string(stages) + " stages: expected at most " + std::to_string(most) +
                "; take a smaller batch");
  for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    if (!step.serial) {
      const auto phases = static_cast<int64_t>(step.kernel.phases);
      for (int64_t phase = 0; phase < std::max<int64_t>(1, phases); ++phase)
        stages_.push_back({phases ? Kind::pieces : Kind::everyone, s, s + 1, phase});
    } else if (stages_.back().kind == Kind::serial) {
      ++stages_.back().last;  // two steps of thread 0 need no meeting between them
    } else {
      stages_.push_back({Kind::serial, s, s + 1});
    }
  }
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
  if (spot.where == Where::arena) return memory_[2 * plan_->device_of(value)].data() + spot.offset;
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

int Session::run(const void* const* inputs, void* const* outputs, const int64_t* sizes, int64_t* step_ns) noexcept {
  if (busy_.exchange(true, std::memory_order_acquire)) return kBusy;
  bind_caller(inputs, outputs);
  outputs_ = outputs;
  step_ns_ = step_ns;
  if (step_ns) std::fill(step_ns, step_ns + steps_.size(), 0);
  failed_step_.store(INT_MAX, std::memory_order_relaxed);
  code_.store(0, std::memory_order_relaxed);
  const bool whole = walk(sizes);
  const int step = failed_step_.load(std::memory_order_relaxed);
  int code = code_.load(std::memory_order_relaxed);
  if (!whole && code == 0) code = kStopped;
  // Nothing of this run may still be at work in the arena when the next one starts.
  for (size_t d = 1; d < plan_->devices().size(); ++d)
    if (const int late = plan_->devices()[d]->synchronise(); late != 0 && code == 0) code = late;
  last_error_ = {code, step == INT_MAX ? -1 : step};
  busy_.store(false, std::memory_order_release);
  return code;
}

bool Session::walk(const int64_t*) noexcept {
  return parallel(threads_, step_ns_ ? 0 : 1, static_cast<uint32_t>(stages_.size()), *this);
}

Gather Session::run(uint32_t at, Team& team) noexcept {
  const Stage& stage = stages_[at];
  switch (stage.kind) {
    case Stage::Kind::begin: return Gather::everyone;  // some may still be waking up, which is no step's time
    case Stage::Kind::serial:
      if (team.index == 0) run_serial(stage);
      return Gather::first;
    case Stage::Kind::copies: copy_outputs(team); return Gather::pieces;
    default: break;
  }
  team.phase = stage.phase;
  if (const int code = run_phase(steps_[static_cast<size_t>(stage.first)], team); code != 0) fail(stage.first, code);
  return stage.kind == Stage::Kind::pieces ? Gather::pieces : Gather::everyone;
}

Memory Session::ahead(uint32_t at, uint32_t index) const noexcept {
  return ahead_[at * static_cast<size_t>(threads_) + index];
}

uint32_t Session::next(uint32_t at) noexcept {
  const Stage& stage = stages_[at];
  if (step_ns_ && stage.kind != Stage::Kind::serial) {
    const uint64_t now = wall_->now();
    if (stage.first < stage.last) step_ns_[stage.first] += static_cast<int64_t>(now - mark_);
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
    int code = 0;
    if (step_ns_) {
      code = run_timed_step(step, s, alone);
    } else {
      code = run_step(step, alone);
      if (code == 0 && step.synchronise) code = step.device->synchronise();
    }
    if (code != 0) return fail(s, code);
  }
}

int Session::run_phase(const Step& step, Team& team) noexcept {
  const pw_context context{.size = sizeof context, .reserved = 0, .in = in_.data() + step.in, .out = out_.data() + step.out,
                           .in_sizes = in_sizes_.data() + step.in, .out_sizes = out_sizes_.data() + step.out,
                           .workspace = step.workspace, .team = &team, .queue = nullptr, .take = nullptr, .owner = nullptr};
  return step.kernel.run(step.kernel.self, &context);
}

// All phases, by one thread.
int Session::run_step(const Step& step, Team& alone) noexcept {
  int code = 0;
  const auto phases = std::max<int64_t>(1, static_cast<int64_t>(step.kernel.phases));
  for (alone.phase = 0; code == 0 && alone.phase < phases; ++alone.phase) code = run_phase(step, alone);
  return code;
}

void Session::fail(int step, int code) noexcept {
  int none = 0;
  code_.compare_exchange_strong(none, code, std::memory_order_relaxed);
  failed_step_.store(step, std::memory_order_relaxed);
}

// A serial step: timed by its device's clock where that is not the wall's.
int Session::run_timed_step(const Step& step, int s, Team& team) noexcept {
  const bool own_clock = step.device->clock() != PW_CLOCK_WALL;
  const uint64_t before = own_clock ? step.device->now() : mark_;
  int code = run_step(step, team);
  if (!step.device->is_cpu() && code == 0) code = step.device->synchronise();
  const uint64_t wall = wall_->now();
  step_ns_[s] = static_cast<int64_t>((own_clock ? step.device->now() : wall) - before);
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
