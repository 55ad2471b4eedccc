// Aligned memory that a kernel owns, and sharing of packed constants between kernels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

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
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() { return static_cast<T*>(data_); }
  template <class T>
  const T* as() const { return static_cast<const T*>(data_); }

 private:
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// The buffer made by `fill` for the constant `id` in packing `signature`; alive as long as somebody holds it, made anew
// when nobody does. id 0 is never shared. Thread safe.
std::shared_ptr<const Buffer> shared_packing(uint64_t id, const std::string& signature,
                                             const std::function<Buffer()>& fill);

}  // namespace pw
