// The kernels of a FlowSession: which one a step runs at the sizes of the moment, and how one is made.
#include <algorithm>

#include "base/error.h"
#include "runtime/flow.h"

namespace pw {
namespace {

// Kernels of one step that a session keeps for sizes to come again.
constexpr size_t kKept = 8;

}  // namespace

// Whether a step finds out a size of its output `out`.
bool FlowSession::finds_size(const PlanStep& step, size_t out) {
  return std::any_of(step.sets.begin(), step.sets.end(), [&](const SizeSet& s) { return s.out == static_cast<int>(out); });
}

// Whether a kernel does for the sizes of this moment. Kernels that were made for values with elements need not take those
// without any.
bool FlowSession::serves(int step, const PreparedKernel& kernel, bool opens) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const auto side = [&](const std::vector<int>& values, const std::vector<Port>& ports, size_t first) {
    for (size_t i = 0; i < values.size(); ++i) {
      const auto& axes = plan_->values()[static_cast<size_t>(values[i])].axes;
      const int64_t* sizes = sizes_of(values[i]);
      for (size_t axis = 0; axis < axes.size(); ++axis) {
        const int64_t made = ports[i].sizes[axis], now = sizes[axis];
        if (now == made) continue;
        const bool found = first > 0 && std::any_of(from.sets.begin(), from.sets.end(), [&](const SizeSet& s) {
          return s.out == static_cast<int>(i) && s.axis == static_cast<int>(axis);
        });
        if (!found && (!opens || now > made || now == 0 || !kernel.open(first + i, axis))) return false;
      }
    }
    return true;
  };
  return side(from.in, kernel.in(), 0) && side(from.out, kernel.out(), from.in.size());
}

void FlowSession::use(int step, KernelPtr kernel) {
  if (kernel->raw().phases > kMostPhases)
    throw Unfit("its kernel would have " + std::to_string(kernel->raw().phases) + " phases, expected at most " +
                std::to_string(kMostPhases));
  Step& used = steps_[static_cast<size_t>(step)];
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  used.workspace = scratch(step, kernel->raw().workspace_bytes);
  used.kernel = kernel->raw();
  used.serial = kernel->serial();
  if (!used.serial) wanted_threads_ = plan_->threads();
  for (size_t i = 0; i < from.in.size(); ++i)
    if (plan_->values()[static_cast<size_t>(from.in[i])].axes.empty()) in_sizes_[used.in + i] = kernel->in()[i].sizes.data();
  open_[static_cast<size_t>(step)].kernel = std::move(kernel);
}

// The workspace of a step for a kernel that needs so much: the planned one, or another where the plan's own kernels need less.
void* FlowSession::scratch(int step, uint64_t bytes) {
  const auto runner = static_cast<size_t>(plan_->runner(step));
  const int queue = schedule_.queue(step);
  if (bytes <= (queue < 0 ? plan_->workspace()[runner] : schedule_.queues()[static_cast<size_t>(queue)].workspace))
    return workspace_of(static_cast<size_t>(step));
  Extra& extra = extra_[runner];
  if (extra.bytes < bytes) {
    // Other steps may still use the last one.
    extra_memory_.emplace_back(plan_->devices()[runner], PW_MEMORY_DEVICE, 2 * bytes);
    extra = {extra_memory_.back().data(), 2 * bytes};
  }
  return extra.data;
}

// Whether a kernel for the largest sizes would do for all: that of the plan says of every axis that is open here that it is.
bool FlowSession::roomy(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  if (most_.empty() || !from.opens) return false;
  const auto side = [&](const std::vector<int>& values, size_t first) {
    for (size_t i = 0; i < values.size(); ++i) {
      const auto& axes = plan_->values()[static_cast<size_t>(values[i])].axes;
      for (size_t axis = 0; axis < axes.size(); ++axis)
        if (plan_->sizes().program[static_cast<size_t>(axes[axis])].kind != SizeOp::Kind::number &&
            !from.kernel->open(first + i, axis))
          return false;
    }
    return true;
  };
  return side(from.in, 0) && side(from.out, from.in.size());
}

// Whether a value of open sizes has no element, as far as that is known before the step runs.
bool FlowSession::is_empty(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const auto none = [&](int v) { return !plan_->values()[static_cast<size_t>(v)].axes.empty() && bytes_of(v) == 0; };
  return std::any_of(from.in.begin(), from.in.end(), none) ||
         (from.sets.empty() && std::any_of(from.out.begin(), from.out.end(), none));
}

std::vector<int64_t> FlowSession::values_of(const std::vector<int>& sizes, const std::vector<int64_t>& results) const {
  std::vector<int64_t> values;
  values.reserve(sizes.size());
  for (int size : sizes) values.push_back(results[static_cast<size_t>(size)]);
  return values;
}

// The kernel of a step for sizes: one that another step of its group runs, or a new one.
KernelPtr FlowSession::made_for(const KernelMaker& maker, const std::vector<int64_t>& sizes) {
  auto& known = made_[{maker.group, sizes}];
  if (KernelPtr kernel = known.lock()) return kernel;
  KernelPtr kernel = maker.make(sizes.data());
  known = kernel;
  if (made_.size() > kKept * steps_.size())
    std::erase_if(made_, [](const auto& entry) { return entry.second.expired(); });
  return kernel;
}

void FlowSession::prepare(int step) {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  Open& open = open_[static_cast<size_t>(step)];
  for (size_t i = 0, entry = 0; i < from.out.size() && !open.found.empty(); ++i) {
    const PlanValue& value = plan_->values()[static_cast<size_t>(from.out[i])];
    if (!finds_size(from, i)) continue;
    const int64_t* sizes = sizes_of(from.out[i]);
    std::copy(sizes, sizes + value.axes.size(), open.found.begin() + static_cast<std::ptrdiff_t>(entry));
    for (const SizeSet& set : from.sets)
      if (set.out == static_cast<int>(i))
        open.found[entry + static_cast<size_t>(set.axis)] =
            value.pooled ? -1 : plan_->sizes().program[static_cast<size_t>(set.symbol)].b;
    entry += value.axes.size();
  }
  for (size_t i = 0; i < from.out.size(); ++i) {
    const int v = from.out[i];
    if (!plan_->values()[static_cast<size_t>(v)].pooled) continue;
    if (!from.sets.empty()) {
      out_[steps_[static_cast<size_t>(step)].out + i] = nullptr;  // the kernel takes what it needs
    } else {
      const uint64_t bytes = bytes_of(v);
      if (bytes == UINT64_MAX) throw Unfit("an output's sizes are none");
      reserve(v, bytes, false);
      point(v);
    }
  }
  if (from.op != Op::kernel || !open.open) return;
  check_room(step);
  open.skip = from.sets.empty() && std::all_of(from.out.begin(), from.out.end(), [&](int v) { return bytes_of(v) == 0; });
  if (open.skip) return;
  if (open.told && serves(step, *open.kernel, from.opens)) return;
  if (open.told && serves(step, *from.kernel, from.opens)) return use(step, from.kernel);
  if (!from.maker) throw Unfit("its kernel takes no other sizes, and none can be made");
  const bool for_all = roomy(step) && !is_empty(step);
  const std::vector<int64_t> now = values_of(from.maker->sizes, for_all ? most_ : results_);
  if (!open.told && open.bound == now) return;
  auto kept = std::find_if(open.kept.begin(), open.kept.end(), [&](const Open::Kept& k) { return k.bound == now; });
  if (kept == open.kept.end()) {
    if (std::find(now.begin(), now.end(), kNoSize) != now.end()) throw Unfit("these sizes do not fit the net");
    KernelPtr kernel = made_for(*from.maker, now);
    check_ports(*kernel, from, plan_->values(), plan_->threads(), "the kernel that was made for them: ");
    if (kernel->device() != plan_->devices()[static_cast<size_t>(plan_->runner(step))])
      throw Error("the kernel that was made for them is another device's");
    if (!serves(step, *kernel, for_all)) throw Unfit("the kernel that was made for them is for others");
    if (open.kept.size() >= kKept)
      open.kept.erase(std::min_element(open.kept.begin(), open.kept.end(),
                                       [](const Open::Kept& a, const Open::Kept& b) { return a.used < b.used; }));
    open.kept.push_back({now, std::move(kernel), 0});
    kept = open.kept.end() - 1;
  }
  kept->used = ++used_;
  use(step, kept->kernel);
  if (!open.told) open.bound = now;
}

// Whether a step needs nothing whatever sizes inside those planned for come: its kernel was made for the largest, and goes by
// what is there.
bool FlowSession::settled(int step) const noexcept {
  const PlanStep& from = plan_->steps()[static_cast<size_t>(step)];
  const Open& open = open_[static_cast<size_t>(step)];
  if (from.op != Op::kernel || most_.empty() || !from.opens || !open.told || open.skip || !from.sets.empty()) return false;
  const auto side = [&](const std::vector<int>& values, const std::vector<Port>& ports, size_t first) {
    for (size_t i = 0; i < values.size(); ++i) {
      const PlanValue& value = plan_->values()[static_cast<size_t>(values[i])];
      if (first > 0 && value.pooled) return false;
      for (size_t axis = 0; axis < value.axes.size(); ++axis) {
        const auto size = static_cast<size_t>(value.axes[axis]);
        if (ports[i].sizes[axis] != most_[size] || (plan_->sizes().program[size].kind != SizeOp::Kind::number &&
                                                    !open.kernel->open(first + i, axis)))
          return false;
      }
    }
    return true;
  };
  return side(from.in, open.kernel->in(), 0) && side(from.out, open.kernel->out(), from.in.size());
}

// `inside`: is_inside(). To look at a step costs more than most steps' own work where a call's values have taken the caches.
void FlowSession::prepare_early(bool inside) {
  if (!inside || !looked_) unsettled_ = early_;
  looked_ = false;  // until all went well
  size_t kept = 0;
  for (int step : unsettled_) {
    prepare(preparing_ = step);
    if (!settled(step)) unsettled_[kept++] = step;
  }
  unsettled_.resize(kept);
  looked_ = true;
}

}  // namespace pw
