#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace pw {
namespace {

// What was allocated behind the fence: address -> bytes.
struct Fenced {
  std::atomic<bool> up{false}, any{false};
  std::mutex mutex;
  std::map<uintptr_t, uint64_t> pieces;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

  static Fenced& get() {
    static Fenced* all = new Fenced;  // never destroyed: static buffers are released late
    return *all;
  }

  uint64_t lines(uint64_t bytes) const { return (std::max<uint64_t>(1, bytes) + 63) / 64 * 64; }
  uint64_t pages(uint64_t bytes) const { return (lines(bytes) + page - 1) / page * page; }

  void* allocate(uint64_t bytes) noexcept {
    if (bytes > UINT64_MAX / 2) return nullptr;
    const uint64_t all = pages(bytes);
    void* mapping = mmap(nullptr, all + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return nullptr;
    char *end = static_cast<char*>(mapping) + all, *data = end - lines(bytes);
    try {
      if (mprotect(end, page, PROT_NONE) != 0) throw 0;
      std::lock_guard lock(mutex);
      pieces[reinterpret_cast<uintptr_t>(data)] = bytes;
    } catch (...) {
      munmap(mapping, all + page);
      return nullptr;
    }
    std::memset(mapping, 0xFE, all);  // floats of -1.7e38
    any = true;
    return data;
  }

  // False where it was not allocated here.
  bool release(void* data) noexcept {
    std::lock_guard lock(mutex);
    const auto piece = pieces.find(reinterpret_cast<uintptr_t>(data));
    if (piece == pieces.end()) return false;
    const uint64_t all = pages(piece->second);
    munmap(static_cast<char*>(data) + lines(piece->second) - all, all + page);
    pieces.erase(piece);
    return true;
  }
};

}  // namespace

void* allocate(uint64_t bytes) noexcept {
  if (Fenced::get().up.load(std::memory_order_relaxed)) return Fenced::get().allocate(bytes);
  constexpr uint64_t huge = uint64_t{2} << 20;
  const uint64_t alignment = bytes >= huge ? huge : 64;
  if (bytes > UINT64_MAX - alignment) return nullptr;
  const uint64_t whole = std::max<uint64_t>(1, (bytes + alignment - 1) / alignment) * alignment;
  void* data = std::aligned_alloc(alignment, whole);
  if (data && alignment == huge) madvise(data, whole, MADV_HUGEPAGE);
  return data;
}

void release(void* data) noexcept {
  if (!Fenced::get().any.load(std::memory_order_relaxed) || !Fenced::get().release(data)) std::free(data);
}

void raise_fence(bool up) noexcept { Fenced::get().up.store(up, std::memory_order_relaxed); }

bool fenced(const Memory& memory) {
  Fenced& all = Fenced::get();
  std::lock_guard lock(all.mutex);
  auto piece = all.pieces.upper_bound(reinterpret_cast<uintptr_t>(memory.data));
  if (piece == all.pieces.begin()) return false;
  --piece;
  return memory.within({reinterpret_cast<const void*>(piece->first), piece->second});
}

}  // namespace pw
