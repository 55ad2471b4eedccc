// Values with room: the rows of a cache that grows lie in memory for more of them, and new ones are written behind the old.
//
// Such a value has a `room` along one axis: positions of the axes in front of it lie that many positions apart. Only kernels of
// the CPU that say so are handed any, in a plan's steps that the session knows (Growth, runtime/plan.h).
#pragma once
#include "spi/routine.h"

namespace pw {

// What such a kernel is run with. `size` of the context says that it is one. Per input and output: for how many positions there
// is room; 0: the value lies densely.
struct RoomContext : pw_context {
  const int64_t* in_room;
  const int64_t* out_room;
};

inline const RoomContext* rooms_of(const Context& c) noexcept {
  return c.raw && c.raw->size >= sizeof(RoomContext) ? static_cast<const RoomContext*>(c.raw) : nullptr;
}
// Positions that an input of `size` of them has room for.
inline int64_t room_in(const Context& c, size_t input, int64_t size) noexcept {
  const RoomContext* rooms = rooms_of(c);
  return rooms && rooms->in_room[input] ? rooms->in_room[input] : size;
}

// A second base of kernels that go by the room of some ports.
class TakesRoom {
 public:
  virtual ~TakesRoom() = default;
  // The axis along which a port may have room, -1: it lies densely. Ports: as of Kernel::open. An output with such an axis is
  // the first input with more positions behind it. Where both have room they lie in one memory, and the kernel writes nothing
  // but the positions behind those of the first input. The answer is the same for all sizes.
  virtual int room(size_t port) const = 0;
};

}  // namespace pw
