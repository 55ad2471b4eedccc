// Contiguous arrays of the caller, without copies.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <string>

namespace pw::python {

namespace nb = nanobind;

// Memory of a C-contiguous array: anything with the buffer protocol (NumPy), else any DLPack tensor on the CPU. Holds
// the array. Must be made and destroyed with the GIL held.
class HostArray {
 public:
  // Throws nb::value_error that begins with `what` when the object is no such array, or not writable where it must be.
  HostArray(nb::handle object, bool writable, const std::string& what);
  HostArray(HostArray&& other) noexcept;
  HostArray& operator=(HostArray&&) = delete;
  ~HostArray();

  void* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  bool from_buffer(nb::handle object, bool writable);
  bool from_tensor(nb::handle object, bool writable);

  Py_buffer view_{};
  nb::ndarray<nb::ro> read_;
  nb::ndarray<> write_;
  void* data_ = nullptr;
  uint64_t bytes_ = 0, item_ = 1;
};

}  // namespace pw::python
