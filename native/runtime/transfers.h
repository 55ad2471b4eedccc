// The transfers that the runtime offers for a device: routines of kind `adapt` made of the device's copy function.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pathweave/plugin.h"

namespace pw {

class Device;

// One direction. Routines are handed around by the address of their table, so it stays where it is.
struct Transfer {
  const Device* device;
  bool up;  // from the CPU to the device
  std::string id, cpu;
  pw_routine_table table;
};

// adapt/upload:any:NAME and adapt/download:any:NAME, for a device with memory of its own: values whose bytes it holds as the
// CPU does. `cpu`: name of the CPU's device.
std::vector<std::unique_ptr<Transfer>> transfers_of(const Device& device, const std::string& cpu);

}  // namespace pw
