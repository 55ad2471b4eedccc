#include "runtime/flow.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/stop.h"
#include "runtime/rooms.h"

namespace pw {
namespace {

// Decisions in a row without any work, after which the threads meet to look whether the caller wants an end.
constexpr int kDecisions = 1024;

}  // namespace

FlowSession::FlowSession(std::shared_ptr<const Plan> plan)
    : Session(std::move(plan), Unbound{}), late_sizes_(plan_->sizes().program.late(plan_->sizes().given)) {
  results_.assign(plan_->sizes().program.count(), 0);
  rounds_.resize(plan_->steps().size());
  counts_.resize(plan_->steps().size());
  extra_.resize(plan_->devices().size());
  bind_values();
  if (const auto& sizes = plan_->sizes(); sizes.most.size() == sizes.given && sizes.given == sizes.program.symbols().size()) {
    most_.assign(sizes.program.count(), 0);
    for (size_t i = 0; i < sizes.given; ++i) most_[static_cast<size_t>(sizes.program.symbols()[i])] = sizes.most[i];
    sizes.program.evaluate(most_.data());
  }
  bind_steps();
  for (size_t s = 0; s < steps_.size(); ++s)
    if (open_[s].early && open_[s].open) early_.push_back(static_cast<int>(s));
  bind_copies();
  bind_growths();
}

void FlowSession::bind_values() {
  for (const PlanValue& value : plan_->values()) {
    late_values_.push_back(std::any_of(value.axes.begin(), value.axes.end(),
                                       [&](int s) { return late_sizes_[static_cast<size_t>(s)]; }));
    if (!value.axes.empty() && !value.pooled && !late_values_.back()) planned_.push_back(static_cast<int>(first_size_.size()));
    first_size_.push_back(sizes_.size());
    if (!late_values_.back()) known_.insert(known_.end(), value.axes.begin(), value.axes.end());
    for (int size : value.axes) {
      sized_.emplace_back(sizes_.size(), size);
      sizes_.push_back(0);
    }
  }
  std::sort(known_.begin(), known_.end());
  known_.erase(std::unique(known_.begin(), known_.end()), known_.end());
  sizes_.push_back(0);  // that every value has an address
  pools_.resize(plan_->values().size());
}

void FlowSession::bind_growths() {
  in_room_.assign(in_.size(), 0);
  out_room_.assign(out_.size(), 0);
  touches_room_.assign(steps_.size(), false);
  for (size_t g = 0; g < plan_->growths().size(); ++g) {
    const Growth& growth = plan_->growths()[g];
    const int first = plan_->inputs()[static_cast<size_t>(growth.input)];
    const int last = plan_->outputs()[static_cast<size_t>(growth.output)];
    for (size_t s = 0; s < steps_.size(); ++s) {
      const PlanStep& from = plan_->steps()[s];
      const auto note = [&](int v, size_t entry, bool output) {
        if (v != first && v != last) return;
        roomy_.push_back({g, entry, output});
        touches_room_[s] = true;
      };
      for (size_t i = 0; i < from.in.size(); ++i) note(from.in[i], steps_[s].in + i, false);
      for (size_t i = 0; i < from.out.size(); ++i) note(from.out[i], steps_[s].out + i, true);
    }
  }
}

void FlowSession::bind_rooms(const int64_t* rooms) noexcept {
  if (!rooms && !any_room_) return;
  any_room_ = rooms != nullptr;
  for (const Roomy& r : roomy_) (r.output ? out_room_ : in_room_)[r.entry] = rooms ? rooms[r.growth] : 0;
}

// Whether the kernel of a step goes by the room that values have in this run as the plan's own does: one that was made for
// other sizes may be another routine's.
bool FlowSession::takes_room(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const KernelPtr& used = open_[static_cast<size_t>(step)].kernel;
  if (used == from.kernel) return true;
  for (size_t port = 0; port < from.in.size() + from.out.size(); ++port)
    if (room_of(from.kernel->raw(), port) != room_of(used->raw(), port)) return false;
  return true;
}

void* FlowSession::place_of(int value, size_t entry, std::vector<Patch>& patches) const {
  return plan_->values()[static_cast<size_t>(value)].pooled ? nullptr : Session::place_of(value, entry, patches);
}

void FlowSession::bind_step(const PlanStep& from, size_t index) {
  Open open;
  const int runner = plan_->runner(static_cast<int>(index));
  const Device* device = plan_->devices()[static_cast<size_t>(runner)].get();
  Step step{from.kernel ? from.kernel->raw() : pw_kernel{}, in_.size(), out_.size(),
            workspace_of(index), device, from.kernel && from.kernel->serial(),
            queues_ ? queues_->of(static_cast<int>(index)) : nullptr};
  open.kernel = from.kernel;
  const auto is_open = [&](int v) { return !plan_->values()[static_cast<size_t>(v)].axes.empty(); };
  for (size_t i = 0; i < from.in.size(); ++i) {
    const int v = from.in[i];
    open.open |= is_open(v);
    in_sizes_.push_back(is_open(v) || !from.kernel ? sizes_of(v) : from.kernel->in()[i].sizes.data());
    if (plan_->values()[static_cast<size_t>(v)].pooled) pools_[static_cast<size_t>(v)].in.push_back(in_.size());
    in_.push_back(place_of(v, in_.size(), in_patches_));
  }
  // What a kernel finds out must not change the sizes that others look at.
  std::vector<std::pair<size_t, size_t>> found;  // output, first entry of open.found
  for (size_t i = 0; i < from.out.size(); ++i) {
    const int v = from.out[i];
    const PlanValue& value = plan_->values()[static_cast<size_t>(v)];
    open.open |= is_open(v);
    if (value.pooled) open.pools = true, pools_[static_cast<size_t>(v)].out.push_back(out_.size());
    if (from.op == Op::kernel && finds_size(from, i) && is_open(v)) {
      found.emplace_back(out_.size(), open.found.size());
      open.found.resize(open.found.size() + value.axes.size());
    }
    out_sizes_.push_back(is_open(v) || !from.kernel ? sizes_of(v) : const_cast<int64_t*>(from.kernel->out()[i].sizes.data()));
    out_.push_back(place_of(v, out_.size(), out_patches_));
  }
  if (from.op == Op::copy && from.out.empty()) open.pools |= plan_->values()[static_cast<size_t>(from.in[1])].pooled;
  if (from.op == Op::append) open.pools |= plan_->values()[static_cast<size_t>(from.in[1])].pooled;
  if (!step.serial) wanted_threads_ = plan_->threads();
  open_.push_back(std::move(open));
  for (const auto& [entry, first] : found) out_sizes_[entry] = open_.back().found.data() + first;
  steps_.push_back(step);
  Open& made = open_.back();
  made.checks = !from.checks.empty();
  for (const auto* list : {&from.in, &from.out})
    for (int v : *list) made.early &= !late_values_[static_cast<size_t>(v)];
  if (!from.maker) return;
  made.open = true;
  for (int size : from.maker->sizes) {
    made.early &= !late_sizes_[static_cast<size_t>(size)];
    const auto has = [&](int v) {
      const auto& axes = plan_->values()[static_cast<size_t>(v)].axes;
      return std::find(axes.begin(), axes.end(), size) != axes.end();
    };
    made.told &= from.opens || std::any_of(from.in.begin(), from.in.end(), has) ||
                 std::any_of(from.out.begin(), from.out.end(), has);
  }
}

std::vector<int64_t> FlowSession::symbols() const {
  std::vector<int64_t> found;
  for (int size : plan_->sizes().program.symbols()) found.push_back(results_[static_cast<size_t>(size)]);
  return found;
}

// ---- sizes --------------------------------------------------------------------------------------------------------

void FlowSession::set_sizes() noexcept {
  plan_->sizes().program.evaluate(results_.data());
  for (const auto& [entry, size] : sized_) sizes_[entry] = results_[static_cast<size_t>(size)];
}

// Whether no size of a value that is known before the run is 0, or larger than memory is planned for.
bool FlowSession::is_inside() const noexcept {
  return !most_.empty() && std::all_of(known_.begin(), known_.end(), [&](int size) {
    const auto s = static_cast<size_t>(size);
    return results_[s] > 0 && results_[s] <= most_[s];
  });
}

// Whether a value that has a place lies in it at the sizes of this moment.
bool FlowSession::has_room(int value) const noexcept {
  const PlanValue& of = plan_->values()[static_cast<size_t>(value)];
  return of.pooled || bytes_of(value) <= of.bytes;
}

// What a step writes must lie in its place, if it does not find out how large that is.
void FlowSession::check_room(int step) const {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  for (size_t i = 0; i < from.out.size(); ++i)
    if (late_values_[static_cast<size_t>(from.out[i])] && from.op == Op::kernel && !has_room(from.out[i]) && !finds_size(from, i))
      throw Unfit("these sizes do not fit the net");
}

// What the net asks of sizes for a step to compute what it is to compute.
void FlowSession::check(int step) const {
  for (const SizeCheck& check : plan_->steps()[static_cast<size_t>(step)].checks)
    if (!check.holds(results_.data())) throw Unfit("expected " + check.text);
}

uint64_t FlowSession::bytes_of(int value) const noexcept {
  const PlanValue& of = plan_->values()[static_cast<size_t>(value)];
  if (of.axes.empty()) return of.bytes;
  uint64_t bytes = of.element;
  const int64_t* sizes = sizes_of(value);
  for (size_t axis = 0; axis < of.axes.size(); ++axis) {
    if (sizes[axis] < 0) return UINT64_MAX;
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(sizes[axis]), &bytes)) return UINT64_MAX;
  }
  return bytes;
}

void* FlowSession::reserve(int value, uint64_t bytes, bool keep) {
  Pool& pool = pools_[static_cast<size_t>(value)];
  if (!pool.memory || pool.bytes < bytes) {
    const uint64_t wanted = std::max<uint64_t>({bytes, 2 * pool.bytes, 64});
    auto larger = std::make_unique<DeviceMemory>(plan_->devices()[0], PW_MEMORY_DEVICE, wanted);
    if (keep && pool.memory) std::memcpy(larger->data(), pool.memory->data(), pool.bytes);
    pool.memory = std::move(larger);
    pool.bytes = wanted;
  }
  return pool.memory->data();
}

void* FlowSession::take(const pw_context* context, uint32_t output, uint64_t bytes) {
  auto& session = *static_cast<FlowSession*>(context->owner);
  const PlanStep& step = session.plan_->steps()[static_cast<size_t>(session.taking_)];
  if (bytes > session.most_bytes_) return session.refused_ = bytes, nullptr;
  if (output >= step.out.size() || !session.plan_->values()[static_cast<size_t>(step.out[output])].pooled) return nullptr;
  try {
    return session.reserve(step.out[output], bytes, false);
  } catch (...) {
    return nullptr;
  }
}

const void* FlowSession::late(size_t index, Dims& sizes) const {
  if (index >= plan_->sizes().late.size()) return nullptr;
  const int v = plan_->sizes().late[index];
  const PlanValue& value = plan_->values()[static_cast<size_t>(v)];
  sizes.assign(sizes_of(v), sizes_of(v) + value.axes.size());
  if (value.pooled) return pools_[static_cast<size_t>(v)].memory ? pools_[static_cast<size_t>(v)].memory->data() : nullptr;
  const Spot& spot = plan_->placement().values[static_cast<size_t>(v)];
  if (spot.where != Where::arena) return nullptr;
  return arenas_[static_cast<size_t>(plan_->device_of(v))].data() + spot.offset;
}

// ---- going to and fro -----------------------------------------------------------------------------------------------

void FlowSession::stop(int step, int code, const char* why) noexcept {
  try {
    message_ = why;
  } catch (...) {
    message_.clear();
  }
  fail(step, code);
}

// Ends the run by what is being thrown; false where the caller's Stop ended it.
bool FlowSession::stop_by_exception(int step) noexcept {
  try {
    throw;
  } catch (const Stopped&) {
    return false;
  } catch (const std::bad_alloc&) {
    stop(step, kNoMemory, "no memory");
  } catch (const Unfit& e) {
    stop(step, kUnfit, e.what());
  } catch (...) {
    thrown_ = std::current_exception();
    stop(step, kThrown, "");
  }
  return true;
}

bool FlowSession::walk(const int64_t* sizes) noexcept {
  const auto& symbols = plan_->sizes().program.symbols();
  try {
    message_.clear();
    preparing_ = 0;
    const size_t given = plan_->sizes().given;
    if (prepared_ && given == symbols.size() && std::equal(last_.begin(), last_.end(), sizes)) return go();
    prepared_ = false;
    for (size_t i = 0; i < symbols.size(); ++i) {
      const auto symbol = static_cast<size_t>(symbols[i]);
      const int64_t value = i < plan_->sizes().given ? sizes[i] : plan_->sizes().program[symbol].a;
      if (!plan_->sizes().program.within(symbols[i], value)) throw Unfit("a size is outside its bounds");
      results_[symbol] = value;
    }
    set_sizes();
    const bool inside = is_inside();
    if (!inside && !std::all_of(planned_.begin(), planned_.end(), [&](int v) { return has_room(v); }))
      throw Unfit("these sizes do not fit the net");
    for (Copy& copy : copies_) copy.bytes = bytes_of(copy.value);
    prepare_early(inside);
    if (given > 0) last_.assign(sizes, sizes + given);
    prepared_ = true;
  } catch (...) {
    return stop_by_exception(preparing_);
  }
  return go();
}

bool FlowSession::go() noexcept {
  std::fill(counts_.begin(), counts_.end(), 0);
  mark_ = wall_->now();
  bool whole = true;
  interrupted_.store(false, std::memory_order_relaxed);
  resume_ = enter(0, true);
  while (whole && resume_ != kNoStage) {
    threads_ = wanted_threads_;
    at_ = std::exchange(resume_, kNoStage);
    ring_[0].store(at_, std::memory_order_relaxed);
    whole = parallel(threads_, 0, kLastStage, *this);
  }
  return whole && !interrupted_.load(std::memory_order_relaxed);
}

Gather FlowSession::run(uint32_t number, Team& team) noexcept {
  const uint64_t stage = ring_[number % kRing].load(std::memory_order_relaxed);
  if (stage >> 40 != number) return Gather::nobody;
  const auto s = static_cast<int>(stage >> 20 & kBefore);
  const auto phase = static_cast<uint32_t>(stage & kBefore);
  if (phase == kBefore || phase == kBehind) {
    if (team.index == 0 && team.stop && team.stop->due()) interrupted_.store(true, std::memory_order_relaxed);
    return Gather::everyone;
  }
  if (phase == kCopies) {
    copy_outputs(team);
    return Gather::pieces;
  }
  if (plan_->steps()[static_cast<size_t>(s)].op != Op::kernel) {
    move(s, team);
    return Gather::pieces;
  }
  const Step& step = steps_[static_cast<size_t>(s)];
  if (step.serial) {
    if (team.index == 0) {
      run_serial({Stage::Kind::serial, s, s + 1});
      if (team.stop && team.stop->due()) interrupted_.store(true, std::memory_order_relaxed);  // no other may ask in a loop
    }
    return Gather::first;
  }
  team.phase = phase;
  if (const int code = run_phase(step, s, team); code != 0) fail(s, code);
  return step.kernel.phases ? Gather::pieces : Gather::everyone;
}

// Of the phase or the kernel that comes next in the list: where a branch or a loop leads elsewhere, it was fetched in vain.
Memory FlowSession::ahead(uint32_t number, uint32_t index) const noexcept {
  const uint64_t stage = ring_[number % kRing].load(std::memory_order_relaxed);
  if (stage >> 40 != number) return {};
  auto s = static_cast<size_t>(stage >> 20 & kBefore);
  uint64_t phase = (stage & kBefore) + 1;
  if (phase > kMostPhases) return {};
  if (const Step& step = steps_[s]; step.serial || phase >= step.kernel.phases) ++s, phase = 0;
  Memory memory;
  if (s >= steps_.size() || !steps_[s].kernel.reads_first || (steps_[s].serial && index > 0)) return memory;
  const Step& next = steps_[s];
  next.kernel.reads_first(next.kernel.self, phase, index, static_cast<uint32_t>(next.serial ? 1 : threads_), &memory.data,
                          &memory.bytes);
  return memory;
}

int FlowSession::run_phase(const Step& step, int s, Team& team) noexcept {
  RoomContext context{{.size = sizeof(pw_context), .step = static_cast<uint32_t>(s), .in = in_.data() + step.in,
                           .out = out_.data() + step.out, .in_sizes = in_sizes_.data() + step.in,
                           .out_sizes = out_sizes_.data() + step.out, .workspace = step.workspace, .team = &team,
                           .queue = step.queue, .take = take, .owner = this},
                      in_room_.data() + step.in, out_room_.data() + step.out};
  if (any_room_) context.size = sizeof context;
  return step.kernel.run(step.kernel.self, &context);
}

uint32_t FlowSession::next(uint32_t number) noexcept {
  const auto s = static_cast<int>(at_ >> 20);
  const auto phase = static_cast<uint32_t>(at_ & kBefore);
  const bool meeting = phase == kBefore || phase == kBehind;
  if (step_ns_ && phase != kCopies) {
    const bool serial = plan_->steps()[static_cast<size_t>(s)].op == Op::kernel && steps_[static_cast<size_t>(s)].serial;
    if (!serial || meeting) {
      const uint64_t now = wall_->now();
      if (!meeting) {
        step_ns_[s] += static_cast<int64_t>(now - mark_);
        set_start(s, static_cast<int64_t>(mark_ - begun_));
      }
      mark_ = now;
    }
  }
  if (failed_step_.load(std::memory_order_relaxed) != INT_MAX || phase == kCopies ||
      interrupted_.load(std::memory_order_relaxed))
    return kLastStage;
  const bool alone = threads_ == 1 || meeting;
  uint64_t stage = kNoStage;
  const PlanStep& from = plan_->steps()[static_cast<size_t>(s)];
  if (phase == kBefore) {
    stage = enter(s, true);
  } else if (!meeting && from.op == Op::kernel && !steps_[static_cast<size_t>(s)].serial &&
             phase + 1 < steps_[static_cast<size_t>(s)].kernel.phases) {
    stage = stage_at(static_cast<uint64_t>(s), phase + 1);
  } else {
    const bool finds = !from.sets.empty() || open_[static_cast<size_t>(s)].pools;
    if (finds && !alone) {
      stage = stage_at(static_cast<uint64_t>(s), kBehind);
    } else {
      if (finds) settle(s);
      stage = failed_step_.load(std::memory_order_relaxed) != INT_MAX ? kNoStage : enter(s + 1, alone);
    }
  }
  if (stage == kNoStage) return kLastStage;
  // There are no more numbers, or a kernel that was made just now wants more threads: another region goes on.
  if (number + 1 == kLastStage || threads_ < wanted_threads_) {
    resume_ = stage;
    return kLastStage;
  }
  at_ = stage;
  ring_[(number + 1) % kRing].store(uint64_t{number + 1} << 40 | stage, std::memory_order_relaxed);
  return number + 1;
}

// What a step has found out becomes known.
void FlowSession::settle(int step) noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const Step& used = steps_[static_cast<size_t>(step)];
  if (from.op != Op::append && !from.sets.empty()) {  // all at the same time: what it finds may depend on what it sets
    for (const SizeSet& set : from.sets) {
      const int64_t size = from.op == Op::kernel ? out_sizes_[used.out + static_cast<size_t>(set.out)][set.axis]
                                                 : in_sizes_[used.in + static_cast<size_t>(set.out)][set.axis];
      if (!plan_->sizes().program.within(set.symbol, size))
        return stop(step, kUnfit, "a size that it found is outside its bounds");
      results_[static_cast<size_t>(set.symbol)] = size;
    }
    set_sizes();
    for (int v : from.out)
      if (from.op == Op::kernel && !has_room(v)) return stop(step, kUnfit, "the sizes that it found do not fit the net");
  }
  for (const auto* list : {&from.in, &from.out})
    for (int v : *list)
      if (plan_->values()[static_cast<size_t>(v)].pooled) point(v);
}

void FlowSession::point(int value) noexcept {
  const Pool& pool = pools_[static_cast<size_t>(value)];
  for (size_t e : pool.in) in_[e] = pool.memory ? pool.memory->data() : nullptr;
  for (size_t e : pool.out) out_[e] = pool.memory ? pool.memory->data() : nullptr;
}

bool FlowSession::round_begins(const PlanStep& step) noexcept {
  Round& round = rounds_[static_cast<size_t>(step.loop)];
  const Step& used = steps_[static_cast<size_t>(&step - plan_->steps().data())];
  round.at = 0;
  round.count = step.counted      ? *static_cast<const int64_t*>(in_[used.in])
                : step.count >= 0 ? results_[static_cast<size_t>(step.count)]
                                  : INT64_MAX;
  std::memcpy(out_[used.out], &round.at, sizeof round.at);
  const bool wanted = !step.tested || *static_cast<const uint8_t*>(in_[used.in + (step.counted ? 1 : 0)]) != 0;
  return wanted && round.count > 0;
}

bool FlowSession::round_ends(const PlanStep& step) noexcept {
  Round& round = rounds_[static_cast<size_t>(step.loop)];
  const Step& used = steps_[static_cast<size_t>(&step - plan_->steps().data())];
  ++round.at;
  const Step& begin = steps_[static_cast<size_t>(step.target - 1)];
  std::memcpy(out_[begin.out], &round.at, sizeof round.at);
  const bool wanted = !step.tested || *static_cast<const uint8_t*>(in_[used.in]) != 0;
  return wanted && round.at < round.count;
}

// Goes on from a step that only decides; false for one that works.
bool FlowSession::decide(int& step) noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const Step& used = steps_[static_cast<size_t>(step)];
  if (from.op == Op::branch || from.op == Op::jump || from.op == Op::loop || from.op == Op::again)
    ++counts_[static_cast<size_t>(step)];
  switch (from.op) {
    case Op::branch: step = *static_cast<const uint8_t*>(in_[used.in]) ? step + 1 : from.target; return true;
    case Op::jump: step = from.target; return true;
    case Op::loop: step = round_begins(from) ? step + 1 : from.target; return true;
    case Op::again: step = round_ends(from) ? from.target : step + 1; return true;
    default: return false;
  }
}

bool FlowSession::must_meet(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const Open& open = open_[static_cast<size_t>(step)];
  return from.op == Op::rounds || open.pools || !open.found.empty() || (open.open && !open.early);
}

void FlowSession::count_rounds(const PlanStep& from) {
  const int64_t rounds = rounds_[static_cast<size_t>(from.loop)].at;
  for (const SizeSet& set : from.sets) {
    if (!plan_->sizes().program.within(set.symbol, rounds)) throw Unfit("more rounds than its bounds say");
    results_[static_cast<size_t>(set.symbol)] = rounds;
  }
  set_sizes();
}

uint64_t FlowSession::enter(int step, bool alone) noexcept {
  const auto count = static_cast<int>(steps_.size());
  for (int decisions = 0; step < count;) {
    if (decide(step)) {
      if (++decisions < kDecisions || step >= count) continue;
      return stage_at(static_cast<uint64_t>(step), kBefore);
    }
    if (must_meet(step) && !alone && threads_ > 1) return stage_at(static_cast<uint64_t>(step), kBefore);
    try {
      const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
      if (open_[static_cast<size_t>(step)].checks) check(step);
      if (from.op == Op::rounds) {
        count_rounds(from);
        ++counts_[static_cast<size_t>(step)];
        ++step;
        continue;
      }
      if (must_meet(step)) {
        taking_ = step;
        if (from.op == Op::copy || from.op == Op::append) prepare_move(step);
        else prepare(step);
      }
      if (open_[static_cast<size_t>(step)].skip) {
        ++step;
        continue;
      }
      if (any_room_ && touches_room_[static_cast<size_t>(step)] && !takes_room(step)) throw Unfit("a kernel takes no room");
      if (const char* why = misfit(step)) throw Unfit(why);
    } catch (...) {
      if (!stop_by_exception(step)) interrupted_.store(true, std::memory_order_relaxed);
      return kNoStage;
    }
    ++counts_[static_cast<size_t>(step)];
    return stage_at(static_cast<uint64_t>(step), 0);
  }
  return copies_.empty() ? kNoStage : stage_at(0, kCopies);
}

}  // namespace pw
