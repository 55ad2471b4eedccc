#include "runtime/session.h"

#include <algorithm>
#include <cstring>

namespace pw {

Session::Session(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)), wall_(plan_->devices()[0].get()), arrived_(plan_->steps().size() + 1) {
  for (size_t d = 0; d < plan_->devices().size(); ++d) {
    memory_.emplace_back(plan_->devices()[d], plan_->placement().arena[d]);
    memory_.emplace_back(plan_->devices()[d], plan_->workspace()[d]);
  }
  bind_steps();
  bind_copies();
  body_ = [this](Team& team) { execute(team); };
}

void Session::bind_steps() {
  for (size_t s = 0; s < plan_->steps().size(); ++s) {
    const PlanStep& from = plan_->steps()[s];
    const int runner = plan_->runner(static_cast<int>(s));
    Step step{from.kernel->raw(), in_.size(), out_.size(), memory_[2 * runner + 1].data(),
              plan_->devices()[runner].get(), from.kernel->serial(), true, false};
    for (int v : from.in) {
      in_.push_back(place_of(v, in_.size(), in_patches_));
      step.synchronise |= runner != 0 && plan_->device_of(v) != runner;
    }
    for (int v : from.out) {
      out_.push_back(place_of(v, out_.size(), out_patches_));
      step.synchronise |= runner != 0 && plan_->device_of(v) != runner;
    }
    if (!step.serial) threads_ = plan_->threads();
    // Two steps of thread 0 need no meeting between them.
    if (step.serial && !steps_.empty() && steps_.back().serial) steps_.back().barrier = false;
    steps_.push_back(step);
  }
}

void Session::bind_copies() {
  for (size_t j = 0; j < plan_->outputs().size(); ++j) {
    const int v = plan_->outputs()[j];
    const Spot& spot = plan_->placement().values[v];
    if (spot.where == Where::output && spot.root == static_cast<int>(j) && spot.offset == 0) continue;
    const void* source = place_of(v, copies_.size(), copy_patches_);
    copies_.push_back({source, static_cast<int>(j), plan_->values()[v].bytes});
  }
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

int Session::start(const void* const* inputs, void* const* outputs, int64_t* step_ns) noexcept {
  if (busy_.exchange(true, std::memory_order_acquire)) return kBusy;
  bind_caller(inputs, outputs);
  outputs_ = outputs;
  step_ns_ = step_ns;
  if (step_ns)
    for (auto& entry : arrived_) entry.store(0, std::memory_order_relaxed);
  failed_step_.store(INT_MAX, std::memory_order_relaxed);
  code_.store(0, std::memory_order_relaxed);
  parallel(threads_, body_);
  const int step = failed_step_.load(std::memory_order_relaxed);
  int code = code_.load(std::memory_order_relaxed);
  // Nothing of this run may still be at work in the arena when the next one starts.
  for (size_t d = 1; d < plan_->devices().size(); ++d)
    if (const int late = plan_->devices()[d]->synchronise(); late != 0 && code == 0) code = late;
  last_error_ = {code, step == INT_MAX ? -1 : step};
  busy_.store(false, std::memory_order_release);
  return code;
}

void Session::execute(Team& team) noexcept {
  if (step_ns_) {
    arrive(steps_.size());
    team.barrier();  // the others may still be waking up
    if (team.index == 0) mark_ = arrived_[steps_.size()].load(std::memory_order_relaxed);
  }
  const int count = static_cast<int>(steps_.size());
  for (int s = 0; s < count; ++s) {
    run_step(s, team);
    if (!steps_[s].barrier) continue;
    if (step_ns_) arrive(static_cast<size_t>(s));
    if (s + 1 < count || step_ns_ || !copies_.empty()) team.barrier();
    if (step_ns_ && team.index == 0 && !steps_[s].serial) {
      const uint64_t now = arrived_[s].load(std::memory_order_relaxed);
      step_ns_[s] = static_cast<int64_t>(now - mark_);
      mark_ = now;
    }
    // Only failures up to this step count: a faster thread may be in the next one already.
    if (failed_step_.load(std::memory_order_acquire) <= s) return;
  }
  copy_outputs(team);
}

// Keeps the latest of the threads' clocks; the barrier that follows publishes it.
void Session::arrive(size_t entry) noexcept {
  const uint64_t now = wall_->now();
  uint64_t latest = arrived_[entry].load(std::memory_order_relaxed);
  while (latest < now && !arrived_[entry].compare_exchange_weak(latest, now, std::memory_order_relaxed)) {
  }
}

void Session::run_step(int s, Team& team) noexcept {
  const Step& step = steps_[s];
  int code = 0;
  if (!step.serial) {
    code = step.kernel.run(step.kernel.self, in_.data() + step.in, out_.data() + step.out, step.workspace, &team);
  } else if (team.index == 0 && failed_step_.load(std::memory_order_relaxed) > s) {
    Team alone(0, 1, team.shared);
    if (step_ns_) {
      code = run_timed_step(step, s, alone);
    } else {
      code = step.kernel.run(step.kernel.self, in_.data() + step.in, out_.data() + step.out, step.workspace, &alone);
      if (code == 0 && step.synchronise) code = step.device->synchronise();
    }
  }
  if (code == 0) return;
  int none = 0;
  code_.compare_exchange_strong(none, code, std::memory_order_relaxed);
  failed_step_.store(s, std::memory_order_release);
}

// A serial step: timed by its device's clock where that is not the wall's.
int Session::run_timed_step(const Step& step, int s, Team& team) noexcept {
  const bool own_clock = step.device->clock() != PW_CLOCK_WALL;
  const uint64_t before = own_clock ? step.device->now() : mark_;
  int code = step.kernel.run(step.kernel.self, in_.data() + step.in, out_.data() + step.out, step.workspace, &team);
  if (!step.device->is_cpu() && code == 0) code = step.device->synchronise();
  const uint64_t wall = wall_->now();
  step_ns_[s] = static_cast<int64_t>((own_clock ? step.device->now() : wall) - before);
  mark_ = own_clock ? wall_->now() : wall;
  return code;
}

void Session::copy_outputs(Team& team) const noexcept {
  for (const Copy& copy : copies_) {
    const auto [first, last] = team.share(static_cast<int64_t>(copy.bytes), 4096);
    if (first < last)
      std::memcpy(static_cast<char*>(outputs_[copy.output]) + first, static_cast<const char*>(copy.source) + first,
                  static_cast<size_t>(last - first));
  }
}

}  // namespace pw
