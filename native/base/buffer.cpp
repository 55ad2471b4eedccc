#include "base/buffer.h"

#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "base/fork.h"

namespace pw {

Buffer::Buffer(size_t bytes) : data_(allocate(bytes)), bytes_(bytes) {
  if (!data_) throw std::bad_alloc();
}

Buffer::~Buffer() {
  if (data_ && !keep_) release(data_);
}

Buffer Buffer::view(const void* data, size_t bytes, std::shared_ptr<const void> keep) {
  Buffer buffer;
  buffer.data_ = const_cast<void*>(data);  // handed out as a const Buffer only
  buffer.bytes_ = bytes;
  buffer.keep_ = std::move(keep);
  return buffer;
}

namespace {

using Key = std::pair<uint64_t, std::string>;
using Shared = std::shared_ptr<const Buffer>;

thread_local PackingRecorder* recorder = nullptr;

struct Packings {
  struct Offered {
    Shared buffer;
    Offer state = Offer::waiting;
  };
  ForkMutex mutex;
  std::map<Key, std::weak_ptr<const Buffer>> known;
  size_t swept = 0;  // entries after the dead ones were last taken out
  std::map<Key, Offered> offered;

  static Packings& get() {
    static Packings* all = new Packings;  // never destroyed: kernels may die late
    return *all;
  }

  // The buffer that is alive, or the one that is offered; null when there is neither.
  Shared find(const Key& key, size_t bytes) {
    std::lock_guard lock(mutex);
    if (auto found = known[key].lock()) return found;
    const auto entry = offered.find(key);
    if (entry == offered.end()) return nullptr;
    auto& [buffer, state] = entry->second;
    // `bytes` 0: kept in no file, since its contents say where else to read.
    if (bytes == 0 || buffer->bytes() != bytes) {
      state = Offer::refused;
      return nullptr;
    }
    state = Offer::taken;
    known[key] = buffer;
    return buffer;
  }

  // The buffer that was made, or the one that another thread made meanwhile.
  Shared keep(const Key& key, Shared made) {
    std::lock_guard lock(mutex);
    if (known.size() >= 2 * swept + 64) {  // now and then, so that many packings take linear time
      for (auto entry = known.begin(); entry != known.end();)
        entry = entry->second.expired() && entry->first != key ? known.erase(entry) : std::next(entry);
      swept = known.size();
    }
    if (auto found = known[key].lock()) return found;
    known[key] = made;
    return made;
  }
};

}  // namespace

std::shared_ptr<const Buffer> shared_packing(uint64_t id, const std::string& signature,
                                             const std::function<Buffer()>& fill, size_t bytes) {
  if (id == 0) return std::make_shared<const Buffer>(fill());
  const Key key(id, signature);
  Shared buffer = Packings::get().find(key, bytes);
  if (!buffer) buffer = Packings::get().keep(key, std::make_shared<const Buffer>(fill()));
  if (recorder && bytes != 0) recorder->packings.push_back({id, signature, buffer});
  return buffer;
}

void offer_packing(uint64_t id, const std::string& signature, std::shared_ptr<const Buffer> buffer) {
  std::lock_guard lock(Packings::get().mutex);
  Packings::get().offered[{id, signature}] = {std::move(buffer)};
}

void withdraw_packings(uint64_t id) {
  auto& offered = Packings::get().offered;
  std::vector<Shared> dropped;  // what they keep alive goes outside of the lock
  std::lock_guard lock(Packings::get().mutex);
  for (auto entry = offered.lower_bound({id, ""}); entry != offered.end() && entry->first.first == id;) {
    dropped.push_back(std::move(entry->second.buffer));
    entry = offered.erase(entry);
  }
}

std::vector<std::pair<std::string, Offer>> offered_packings(uint64_t id) {
  std::vector<std::pair<std::string, Offer>> found;
  const auto& offered = Packings::get().offered;
  std::lock_guard lock(Packings::get().mutex);
  for (auto entry = offered.lower_bound({id, ""}); entry != offered.end() && entry->first.first == id; ++entry)
    found.emplace_back(entry->first.second, entry->second.state);
  return found;
}

PackingRecorder::PackingRecorder() { recorder = this; }
PackingRecorder::~PackingRecorder() { recorder = nullptr; }

}  // namespace pw
