#include "python/arrays.h"

#include <utility>

namespace pw::python {

HostArray::HostArray(nb::handle object, bool writable, const std::string& what) {
  if (!from_buffer(object, writable) && !from_tensor(object, writable))
    throw nb::value_error((what + ": expected a C-contiguous" + (writable ? ", writable" : "") +
                           " array in CPU memory (NumPy, or any DLPack tensor), got " +
                           nb::type_name(object.type()).c_str())
                              .c_str());
  if (bytes_ && reinterpret_cast<uintptr_t>(data_) % item_ != 0)
    throw nb::value_error((what + ": its memory is not aligned to its elements of " + std::to_string(item_) +
                           " bytes; pass a copy")
                              .c_str());
}

HostArray::HostArray(HostArray&& other) noexcept
    : view_(std::exchange(other.view_, Py_buffer{})),
      read_(std::move(other.read_)),
      write_(std::move(other.write_)),
      data_(other.data_),
      bytes_(other.bytes_),
      item_(other.item_) {}

HostArray::~HostArray() {
  if (view_.obj) PyBuffer_Release(&view_);
}

bool HostArray::from_buffer(nb::handle object, bool writable) {
  if (!PyObject_CheckBuffer(object.ptr())) return false;
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0)) != 0) {
    PyErr_Clear();
    view_ = Py_buffer{};
    return false;
  }
  data_ = view_.buf;
  bytes_ = static_cast<uint64_t>(view_.len);
  item_ = view_.itemsize > 0 ? static_cast<uint64_t>(view_.itemsize) : 1;
  return true;
}

bool HostArray::from_tensor(nb::handle object, bool writable) {
  auto take = [&](auto& tensor) {
    data_ = const_cast<void*>(static_cast<const void*>(tensor.data()));
    bytes_ = static_cast<uint64_t>(tensor.nbytes());
    item_ = static_cast<uint64_t>(tensor.itemsize());
    return true;
  };
  if (writable) {
    nb::ndarray<nb::device::cpu, nb::c_contig> tensor;
    if (!nb::try_cast(object, tensor, false)) return false;
    write_ = nb::ndarray<>(tensor);
    return take(write_);
  }
  nb::ndarray<nb::ro, nb::device::cpu, nb::c_contig> tensor;
  if (!nb::try_cast(object, tensor, false)) return false;
  read_ = nb::ndarray<nb::ro>(tensor);
  return take(read_);
}

}  // namespace pw::python
