// What a FlowSession moves: copies, slices of scanned values, and parts of stacked ones.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/size.h"
#include "runtime/flow.h"

namespace pw {

// Why a step that moves must not: it would leave its target or its source. Null where it may.
const char* FlowSession::misfit(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  if (from.op == Op::take || from.op == Op::append) return misfit_part(from);
  if (from.op != Op::copy) return nullptr;
  const int source = from.in[0], to = from.out.empty() ? from.in[1] : from.out[0];
  const PlanValue &given = plan_->values()[static_cast<size_t>(source)], &target = plan_->values()[static_cast<size_t>(to)];
  const uint64_t bytes = bytes_of(source);
  if (bytes == UINT64_MAX) return "what is copied has no size";
  if (!target.pooled && bytes > target.bytes) return "what is copied is larger than its bounds say";
  if (given.axes.empty() || target.axes.size() != given.axes.size()) {
    const bool fits = bytes == bytes_of(to) || late_values_[static_cast<size_t>(to)] || (target.axes.empty() && given.axes.empty());
    return fits ? nullptr : "what is copied has another size than its target";
  }
  for (size_t axis = 0; axis < target.axes.size(); ++axis) {
    const auto size = static_cast<size_t>(target.axes[axis]);
    const bool settable = late_sizes_[size] && plan_->sizes().program[size].kind == SizeOp::Kind::symbol;
    if (!settable && sizes_of(source)[axis] != sizes_of(to)[axis]) return "what is copied has other sizes than its target";
  }
  return nullptr;
}

// The same of a slice, or of a part: as many as there are must be the whole.
const char* FlowSession::misfit_part(const PlanStep& from) const noexcept {
  const bool taken = from.op == Op::take;
  const int whole = taken ? from.in[0] : from.in[1], part = taken ? from.out[0] : from.in[0];
  const Round& round = rounds_[static_cast<size_t>(from.loop)];
  const bool knows = taken || from.axis > 0 || from.reversed || !late_values_[static_cast<size_t>(whole)];
  const int64_t count = knows ? sizes_of(whole)[from.axis] : round.at + 1;
  if (taken && count != round.count) return "what is taken apart has another number of parts than there are rounds";
  if (round.at >= count) return "there are more rounds than parts";
  const uint64_t bytes = bytes_of(part);
  uint64_t all = 0;
  if (bytes == UINT64_MAX || __builtin_mul_overflow(bytes, static_cast<uint64_t>(count), &all)) return "a part has no size";
  if (!has_room(part)) return "a part is larger than its bounds say";
  if (knows && all != bytes_of(whole)) return "its parts are not those of the whole";
  const PlanValue& target = plan_->values()[static_cast<size_t>(whole)];
  return taken || target.pooled || all <= target.bytes ? nullptr : "what is put together is larger than its bounds say";
}

// The sizes of a part, which those of all rounds must have, become those of the whole.
void FlowSession::find_part(const PlanStep& from) {
  if (from.sets.empty()) return;
  const int64_t* sizes = sizes_of(from.in[0]);
  for (const SizeSet& set : from.sets) {
    const int64_t size = sizes[set.axis > from.axis ? set.axis - 1 : set.axis];
    int64_t& known = results_[static_cast<size_t>(set.symbol)];
    if (!plan_->sizes().program.within(set.symbol, size)) throw Unfit("a size that it found is outside its bounds");
    if (rounds_[static_cast<size_t>(from.loop)].at > 0 && known != size)
      throw Unfit("a part has size " + std::to_string(size) + " along an axis, those of the rounds before it " +
                  std::to_string(known));
    known = size;
  }
  set_sizes();
}

// Memory for what is copied, or put together, where none is planned.
void FlowSession::prepare_move(int step) {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const bool appends = from.op == Op::append;
  const int to = from.out.empty() ? from.in[1] : from.out[0];
  if (appends) find_part(from);
  if (!plan_->values()[static_cast<size_t>(to)].pooled) return;
  uint64_t all = bytes_of(from.in[0]);
  const bool knows = appends && (from.axis > 0 || from.reversed);
  const int64_t parts = knows ? sizes_of(to)[from.axis] : appends ? rounds_[static_cast<size_t>(from.loop)].at + 1 : 1;
  if (all == UINT64_MAX || parts < 0 || __builtin_mul_overflow(all, static_cast<uint64_t>(parts), &all) ||
      all > static_cast<uint64_t>(kMostBytes))
    throw Unfit("what it makes would have more bytes than a value may have");
  reserve(to, all, appends);
  point(to);
}

// What changes from round to round is read where pieces are handed out: a thread that is late comes to the rest at any time.
void FlowSession::move(int s, Team& team) noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(s)];
  const Step& step = steps_[static_cast<size_t>(s)];
  const auto* source = static_cast<const char*>(in_[step.in]);
  auto* target = static_cast<char*>(from.out.empty() ? const_cast<void*>(in_[step.in + 1]) : out_[step.out]);
  constexpr int64_t kGrain = 1 << 16;
  if (from.op == Op::copy) {
    team.each(static_cast<int64_t>(bytes_of(from.in[0])), kGrain, [&](int64_t first, int64_t last) {
      if (source != target) std::memmove(target + first, source + first, static_cast<size_t>(last - first));
    });
    return;
  }
  // The slice, and the whole that it belongs to: `outer` runs of it lie `count` slices apart.
  const bool taken = from.op == Op::take;
  const int whole = taken ? from.in[0] : from.in[1], part = taken ? from.out[0] : from.in[0];
  const bool knows = taken || from.axis > 0 || from.reversed;  // else how long the whole becomes is not needed
  const int64_t* sizes = sizes_of(whole);
  const auto bytes = static_cast<int64_t>(bytes_of(part));
  int64_t outer = 1;
  for (int axis = 0; axis < from.axis; ++axis) outer *= sizes[axis];
  if (outer == 0 || bytes == 0) return;
  const int64_t run = bytes / outer;
  // Bytes [first, last) of run o.
  const auto move = [&](int64_t o, int64_t first, int64_t last) {
    const int64_t at = rounds_[static_cast<size_t>(from.loop)].at, count = knows ? sizes[from.axis] : at + 1;
    if (at >= count) return;
    const int64_t there = (o * count + (from.reversed ? count - 1 - at : at)) * run + first, here = o * run + first;
    std::memmove(target + (taken ? here : there), source + (taken ? there : here), static_cast<size_t>(last - first));
  };
  if (outer == 1)
    team.each(run, kGrain, [&](int64_t first, int64_t last) { move(0, first, last); });
  else
    team.each(outer, std::max<int64_t>(1, kGrain / run), [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o) move(o, 0, run);
    });
}

}  // namespace pw
