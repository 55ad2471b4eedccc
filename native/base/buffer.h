// Aligned memory that a kernel owns, and sharing of packed constants between kernels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"

namespace pw {

// 64-byte aligned, uninitialised; large buffers ask for huge pages. Throws std::bad_alloc.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  // Memory of somebody else that nobody writes to, alive as long as `keep`.
  static Buffer view(const void* data, size_t bytes, std::shared_ptr<const void> keep);
  size_t bytes() const { return bytes_; }
  Memory memory() const { return {data_, bytes_}; }
  bool is_view() const { return keep_ != nullptr; }
  template <class T>
  T* as() { return static_cast<T*>(data_); }
  template <class T>
  const T* as() const { return static_cast<const T*>(data_); }

 private:
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(keep_, other.keep_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<const void> keep_;
};

// The buffer made by `fill` for the constant `id` in packing `signature`; alive as long as somebody holds it, made anew
// when nobody does. id 0 is never shared. With `bytes`, the size of what `fill` makes, the buffer may be kept in a file
// and one that was offered from there is taken: the signature must tell everything that the contents depend on beside
// the constant and the versions of the routines. Without, one that was offered is refused. Thread safe.
std::shared_ptr<const Buffer> shared_packing(uint64_t id, const std::string& signature,
                                             const std::function<Buffer()>& fill, size_t bytes = 0);

// Packings made by an earlier process, until they are withdrawn. One of another size than is asked for is refused.
enum class Offer { waiting, taken, refused };
void offer_packing(uint64_t id, const std::string& signature, std::shared_ptr<const Buffer> buffer);
void withdraw_packings(uint64_t id);
std::vector<std::pair<std::string, Offer>> offered_packings(uint64_t id);

// What shared_packing hands out in this thread, with its size told, while the recorder lives. They may not nest.
class PackingRecorder {
 public:
  struct Packing {
    uint64_t id;
    std::string signature;
    std::shared_ptr<const Buffer> buffer;
  };
  PackingRecorder();
  PackingRecorder(const PackingRecorder&) = delete;
  ~PackingRecorder();
  std::vector<Packing> packings;
};

}  // namespace pw
