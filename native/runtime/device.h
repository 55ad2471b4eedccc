// Devices of the process: the CPU and the plugins that were opened, all behind the C table of plugin.h.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pathweave/plugin.h"

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

  bool available() const { return table_ != nullptr; }
  // Why it is absent, "" when it is available.
  const std::string& reason() const { return reason_; }
  const std::string& name() const { return name_; }
  const std::string& description() const { return description_; }
  const std::string& path() const { return path_; }  // "" for the CPU
  const std::string& capabilities() const { return capabilities_; }
  int score() const { return score_; }
  uint32_t clock() const { return clock_; }
  bool emulated() const { return emulated_; }
  bool host_memory() const { return host_memory_; }
  bool is_cpu() const { return path_.empty(); }
  const std::vector<DeviceRoutine>& routines() const { return routines_; }

  // 64-byte aligned memory of the device. Throws std::bad_alloc.
  void* allocate(uint64_t bytes) const;
  void release(void* memory) const noexcept { table_->release(handle_, memory); }
  uint64_t now() const noexcept { return table_->now(handle_); }
  int synchronise() const noexcept { return table_->stream_synchronise(handle_, nullptr); }
  // The table and the opened device, for what has no name here. Null when the device is absent.
  const pw_device_table* table() const { return table_; }
  void* handle() const { return handle_; }

 private:
  bool load(const pw_device_table* table);
  void list_routines();

  const pw_device_table* table_ = nullptr;
  void* handle_ = nullptr;
  std::string path_, name_, description_, capabilities_, reason_;
  int score_ = 0;
  uint32_t clock_ = PW_CLOCK_WALL;
  bool emulated_ = false, host_memory_ = false;
  std::vector<DeviceRoutine> routines_;
};

using DevicePtr = std::shared_ptr<const Device>;

// The CPU first, then the plugins in the order in which they were opened, absent ones among them. Thread safe.
std::vector<DevicePtr> devices();

// The CPU.
DevicePtr cpu_device();

// The available device of that name; throws Error that lists the names there are.
DevicePtr find_device(const std::string& name);

// Opens a plugin library and adds it to the list. One that cannot be opened is listed with its reason and tried anew
// at the next call; one that is open already is handed back. Thread safe; throws only std::bad_alloc.
DevicePtr open_plugin(const std::string& path);

// The CPU's own table (cpu_device.cpp).
const pw_device_table* cpu_device_table();

// wall, event, packets, scripted.
const char* clock_name(uint32_t clock);

}  // namespace pw
