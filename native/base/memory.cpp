#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

namespace pw {
namespace {

// What was allocated behind the fence: address -> bytes.
struct Fenced {
  std::atomic<bool> up{false}, any{false};
  std::mutex mutex;
  std::map<uintptr_t, uint64_t> pieces;
  // Mappings that nothing lies in, by their bytes before the page: to make one takes longer than most tests.
  std::multimap<uint64_t, char*> idle;
  uint64_t idle_bytes = 0;
  static constexpr uint64_t kMostIdle = uint64_t{64} << 20;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

  static Fenced& get() {
    static Fenced* all = new Fenced;  // never destroyed: static buffers are released late
    return *all;
  }

  uint64_t lines(uint64_t bytes) const { return (std::max<uint64_t>(1, bytes) + 63) / 64 * 64; }
  uint64_t pages(uint64_t bytes) const { return (lines(bytes) + page - 1) / page * page; }

  // So many bytes before a page that nobody may touch; null where there are none.
  char* map(uint64_t all) {
    if (const auto found = idle.find(all); found != idle.end()) {
      char* mapping = found->second;
      idle.erase(found);
      idle_bytes -= all;
      return mapping;
    }
    void* mapping = mmap(nullptr, all + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return nullptr;
    if (mprotect(static_cast<char*>(mapping) + all, page, PROT_NONE) == 0) return static_cast<char*>(mapping);
    munmap(mapping, all + page);
    return nullptr;
  }

  void* allocate(uint64_t bytes) noexcept {
    if (bytes > UINT64_MAX / 2) return nullptr;
    const uint64_t all = pages(bytes);
    std::lock_guard lock(mutex);
    char* mapping = map(all);
    if (!mapping) return nullptr;
    char* data = mapping + all - lines(bytes);
    try {
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
    char* mapping = static_cast<char*>(data) + lines(piece->second) - all;
    pieces.erase(piece);
    try {
      if (idle_bytes + all > kMostIdle) throw std::bad_alloc();
      idle.emplace(all, mapping);
      idle_bytes += all;
    } catch (...) {
      munmap(mapping, all + page);
    }
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
