// What the devices offer for a problem, and kernels prepared from it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/device.h"
#include "spi/estimate.h"
#include "spi/routine.h"

namespace pw {

// What one routine says to a problem.
struct Candidate {
  DevicePtr device;
  const pw_routine_table* routine;
  std::string reason;  // why it declines, "" when it accepts; the rest is filled only then
  std::vector<std::string> variants;
  Ports ports;
  std::vector<Estimate> estimates;  // one per variant; none where the routine says nothing
};

// Every routine of the problem's layer kind on every available device, in the order of the devices. Throws Error when
// the problem is malformed.
std::vector<Candidate> candidates(const std::string& problem);

// A routine does not take a problem, and says why.
struct Declined : Error {
  using Error::Error;
};

// A value as a kernel sees it.
struct Port {
  uint64_t bytes;
  std::string device;
  Dims sizes;  // of the problem, per logical axis
};

// A kernel with what the plan must know about it. Immutable, shared by threads.
class PreparedKernel {
 public:
  // `threads`: of the problem; its memory need not do for more.
  PreparedKernel(pw_kernel raw, DevicePtr device, std::vector<Port> in, std::vector<Port> out, int threads,
                 std::shared_ptr<void> keep = nullptr)
      : raw_(raw), device_(std::move(device)), in_(std::move(in)), out_(std::move(out)), threads_(threads),
        keep_(std::move(keep)) {}
  ~PreparedKernel() {
    if (raw_.destroy) raw_.destroy(raw_.self);
  }
  PreparedKernel(const PreparedKernel&) = delete;
  PreparedKernel& operator=(const PreparedKernel&) = delete;

  const pw_kernel& raw() const { return raw_; }
  const DevicePtr& device() const { return device_; }
  const std::vector<Port>& in() const { return in_; }
  const std::vector<Port>& out() const { return out_; }
  // Whether it goes by the size that an axis has in a run; ports: inputs, then outputs.
  bool open(size_t port, size_t axis) const {
    return raw_.open && raw_.open(raw_.self, static_cast<uint32_t>(port), static_cast<uint32_t>(axis)) != 0;
  }
  // Run by one thread: the kernel asks for it, or its device does the work itself.
  bool serial() const { return raw_.serial != 0 || !device_->host(); }
  // The team that it may run in, at most.
  int threads() const { return serial() ? kMostThreads : threads_; }

 private:
  pw_kernel raw_;
  DevicePtr device_;
  std::vector<Port> in_, out_;
  int threads_;
  std::shared_ptr<void> keep_;  // what the kernel refers to (constants)
};

using KernelPtr = std::shared_ptr<const PreparedKernel>;

// Binds a routine of an available device to a problem. `constants`: one per problem input, then one per output; the
// kernel may point into them, so `keep` must hold them. Throws Declined with the routine's reason, Stopped, std::bad_alloc, and
// Error where the problem is malformed or there is no such routine.
KernelPtr prepare(const std::string& problem, const std::string& routine_id, const std::string& variant,
                  const Constants& constants, std::shared_ptr<void> keep = nullptr);

}  // namespace pw
