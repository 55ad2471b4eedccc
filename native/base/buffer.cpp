#include "base/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <utility>

namespace pw {

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  constexpr size_t huge = size_t{2} << 20;
  const size_t alignment = bytes >= huge ? huge : 64;
  data_ = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + (bytes == 0 ? alignment : 0));
  if (!data_) throw std::bad_alloc();
  if (alignment == huge) madvise(data_, bytes, MADV_HUGEPAGE);
}

Buffer::~Buffer() { std::free(data_); }

std::shared_ptr<const Buffer> shared_packing(uint64_t id, const std::string& signature,
                                             const std::function<Buffer()>& fill) {
  if (id == 0) return std::make_shared<const Buffer>(fill());
  static std::mutex mutex;
  static std::map<std::pair<uint64_t, std::string>, std::weak_ptr<const Buffer>> known;
  const auto key = std::make_pair(id, signature);
  {
    std::lock_guard lock(mutex);
    if (auto found = known[key].lock()) return found;
  }
  auto made = std::make_shared<const Buffer>(fill());
  std::lock_guard lock(mutex);
  for (auto entry = known.begin(); entry != known.end();)
    entry = entry->second.expired() && entry->first != key ? known.erase(entry) : std::next(entry);
  if (auto found = known[key].lock()) return found;  // another thread was faster
  known[key] = made;
  return made;
}

}  // namespace pw
