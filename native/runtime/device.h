// Devices of the process: the CPU and the plugins that were opened, all behind the C table of plugin.h.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pathweave/plugin.h"
#include "runtime/transfers.h"
#include "types/format.h"

namespace pw {

// A routine of a device; `unavailable` says which required capability is missing, "" when none is.
struct DeviceRoutine {
  const pw_routine_table* table;
  std::string unavailable;
};

// One device. It is never closed: kernels and sessions hold pointers into its library until the process ends.
class Device {
 public:
  // Probes and opens the device of a table; never throws for what the device says, but keeps its reason.
  Device(std::string path, const pw_device_table* table);
  // A device that could not be loaded at all.
  Device(std::string path, std::string reason);
  Device(const Device&) = delete;

  bool available() const { return table_ != nullptr; }
  // Why it is absent, "" when it is available.
  const std::string& reason() const { return reason_; }
  const std::string& name() const { return name_; }
  const std::string& description() const { return description_; }
  const std::string& path() const { return path_; }  // "" for the CPU
  const std::string& capabilities() const { return capabilities_; }
  int score() const { return score_; }
  // What decides how fast it is; "" where the host's fingerprint says it already.
  const std::string& identity() const { return identity_; }
  uint32_t clock() const { return clock_; }
  bool emulated() const { return flags_ & PW_DEVICE_EMULATED; }
  // Its memory is the host's, and it has no queues.
  bool host() const { return flags_ & PW_DEVICE_HOST; }
  // Whether the number of threads matters to the times of its routines.
  bool threads_matter() const { return flags_ & PW_DEVICE_THREADS; }
  // Whether what crosses to it should lie in pinned memory.
  bool wants_pinned() const { return flags_ & PW_DEVICE_PINNED; }
  const std::vector<DeviceRoutine>& routines() const { return routines_; }
  // That of an id; null when there is none.
  const DeviceRoutine* find(std::string_view id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : &routines_[found->second];
  }
  // Whether this process may use it: a queue belongs to the process in which the device was opened.
  bool here() const noexcept;

  // 64-byte aligned memory of a kind (PW_MEMORY_*). Throws DeviceFull, before it takes any where the device knows that
  // there is not enough.
  void* allocate(uint32_t kind, uint64_t bytes) const;
  void release(uint32_t kind, void* memory) const noexcept { table_->release(handle_, kind, memory); }
  // Free and total bytes of a kind; nothing where that is not known.
  std::optional<std::pair<uint64_t, uint64_t>> memory(uint32_t kind) const noexcept;
  // Bytes of a value of that format on this device. Throws Error where the device does not hold it.
  uint64_t buffer_bytes(const Format& format, const Dims& sizes) const;
  uint64_t now() const noexcept { return table_->now(handle_); }
  // The table and the opened device, for what has no name here. Null when the device is absent.
  const pw_device_table* table() const { return table_; }
  void* handle() const { return handle_; }

 private:
  bool load(const pw_device_table* table);
  void list_routines();

  const pw_device_table* table_ = nullptr;
  void* handle_ = nullptr;
  std::string path_, name_, description_, identity_, capabilities_, reason_;
  int score_ = 0;
  uint32_t clock_ = PW_CLOCK_WALL, flags_ = 0, forks_ = 0;
  std::vector<DeviceRoutine> routines_;
  std::unordered_map<std::string_view, size_t> by_id_;
  std::vector<std::unique_ptr<Transfer>> transfers_;
};

// Bytes of a dense value of that shape.
uint64_t bytes_of(DType dtype, const Dims& shape);

// Bytes of a value on the device of its format. Throws Error where that is not open, or does not hold it.
uint64_t buffer_bytes(const Format& format, const Dims& sizes);

// Memory that a device does not have.
class DeviceFull : public std::bad_alloc {
 public:
  explicit DeviceFull(std::string text) : text_(std::make_shared<const std::string>(std::move(text))) {}
  const char* what() const noexcept override { return text_->c_str(); }

 private:
  std::shared_ptr<const std::string> text_;
};

using DevicePtr = std::shared_ptr<const Device>;

// The CPU first, then the plugins in the order in which they were opened, absent ones among them. Thread safe.
std::vector<DevicePtr> devices();

// The CPU.
DevicePtr cpu_device();

// The available device of that name; throws Error that lists the names there are.
DevicePtr find_device(const std::string& name);

// Opens a plugin library and adds its devices to the list; gives them, or one that says why the library has none. What is
// absent is listed with its reason and tried anew at the next call; a device that is open already is handed back. Thread
// safe; throws only std::bad_alloc.
std::vector<DevicePtr> open_plugin(const std::string& path);

// The CPU's own table (cpu_device.cpp).
const pw_device_table* cpu_device_table();

// wall, event, packets, scripted.
const char* clock_name(uint32_t clock);

}  // namespace pw
