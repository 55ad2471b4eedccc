// Which ports of a prepared kernel may have room (spi/rooms.h).
#pragma once
#include "spi/rooms.h"

namespace pw {

// The axis along which a port may have room, -1: it lies densely.
int room_of(const pw_kernel& kernel, size_t port);

}  // namespace pw
