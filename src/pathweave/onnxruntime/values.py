"""Values outside of a model: OrtValue, which holds an array in memory of the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..net.arguments import as_array
from ..net.floats import host_dtype
from .described import NUMPY, number_of, text_of
from .statuses import Fail, RuntimeException
from .statuses import NotImplemented as NotCovered

CPU = ("cpu", "cpu_pinned")


class OrtDevice:
    """A device: the CPU is the only one."""

    def __init__(self, kind: str = "cpu", number: int = 0):
        self._kind, self._number = kind, number

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> OrtDevice:
        """The device of this name. Raises RuntimeException for one that is not the CPU."""
        check_cpu(ort_device_name)
        return OrtDevice("cpu", int(device_id))

    @staticmethod
    def cpu() -> int:
        """Number of the type of device that the CPU is."""
        return 0

    def device_type(self) -> int:
        """Number of the type of device."""
        return 0

    def device_id(self) -> int:
        """Number of the device among those of its type."""
        return self._number

    def device_mem_type(self) -> int:
        """Number of the kind of memory: the default one."""
        return 0

    def device_vendor_id(self) -> int:
        """Number of the vendor: none."""
        return 0


def check_cpu(device: Any) -> None:
    """Raise RuntimeException for a device that is not the CPU."""
    name = device if isinstance(device, str) else getattr(device, "_kind", str(device))
    if name.lower() not in CPU:
        raise RuntimeException(f"device {name!r}: values lie in memory of the CPU alone; give 'cpu'")


class OrtValue:
    """A tensor in memory of the CPU. `ortvalue_from_numpy` shares the memory of a contiguous array."""

    def __init__(self, array: np.ndarray, number: int | None = None):
        self._array = array
        self._number = number_of(array.dtype) if number is None else number

    @staticmethod
    def ortvalue_from_numpy(numpy_obj: np.ndarray, /, device_type: str = "cpu", device_id: int = 0,
                            vendor_id: int = -1) -> OrtValue:
        """A value of an array's contents. Raises RuntimeException for what is no array of numbers, or no CPU."""
        check_cpu(device_type)
        if not isinstance(numpy_obj, np.ndarray) or not number_of(numpy_obj.dtype) % 8:
            kind = getattr(numpy_obj, "dtype", type(numpy_obj).__name__)
            raise RuntimeException("Unable to create OrtValue from the given python object: expected a NumPy array of numbers, "
                                   f"got {kind}")
        numpy_obj = np.asarray(numpy_obj)  # no subclass, such as a masked array
        native = numpy_obj.astype(numpy_obj.dtype.newbyteorder("="), copy=False)
        return OrtValue(np.require(native, requirements=["C", "A"]).reshape(native.shape))

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(data: np.ndarray, /, onnx_element_type: int) -> OrtValue:
        """A value whose elements are of the type with ONNX's number, as wide as the array's, such as bfloat16 in uint16."""
        value = OrtValue.ortvalue_from_numpy(data)
        if np.dtype(NUMPY.get(onnx_element_type, "V0")).itemsize != value._array.itemsize:
            raise RuntimeException(f"element type {onnx_element_type} of ONNX does not fit elements of {value._array.dtype}")
        return OrtValue(value._array, int(onnx_element_type))

    @staticmethod
    def ortvalue_from_shape_and_type(shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0,
                                     vendor_id: int = -1, memory_info: Any = None) -> OrtValue:
        """A value of zeros. `element_type`: ONNX's number of it, or a NumPy type. Raises RuntimeException for sizes below 0."""
        check_cpu(device_type)
        number, dtype = element(element_type)
        if any(size < 0 for size in shape):
            raise RuntimeException(f"ortvalue_from_shape_and_type: shape must have sizes of 0 or more, got {list(shape)}")
        return OrtValue(np.zeros(tuple(shape), dtype), number)

    @staticmethod
    def from_dlpack(data: Any, /) -> OrtValue:
        """A value that shares the memory of a tensor that offers DLPack."""
        return OrtValue(as_array("value", data))

    @staticmethod
    def ort_value_from_sparse_tensor(sparse_tensor: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("OrtValue.ort_value_from_sparse_tensor: sparse tensors are not supported; give a dense array")

    def as_sparse_tensor(self) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("OrtValue.as_sparse_tensor: sparse tensors are not supported; take numpy()")

    def numpy(self) -> np.ndarray:
        """The contents, as an array over the same memory; bfloat16 of ml_dtypes where that is installed, else as bits."""
        return self._array.view(host_dtype("bf16")) if self._number == 16 else self._array.view()

    def shape(self) -> list[int]:
        """Sizes."""
        return list(self._array.shape)

    def data_type(self) -> str:
        """Type, such as `tensor(float)`."""
        return text_of(self._number)

    def element_type(self) -> int:
        """ONNX's number of the element type."""
        return self._number

    def device_name(self) -> str:
        """`cpu`."""
        return "cpu"

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._array.ctypes.data

    def tensor_size_in_bytes(self) -> int:
        """Bytes of the contents."""
        return self._array.nbytes

    def has_value(self) -> bool:
        """True: a value of an optional input that is missing is None."""
        return True

    def is_tensor(self) -> bool:
        """True."""
        return True

    def is_sparse_tensor(self) -> bool:
        """False."""
        return False

    def is_tensor_sequence(self) -> bool:
        """False."""
        return False

    def update_inplace(self, data: np.ndarray) -> None:
        """Write other contents into the value's memory. Raises RuntimeException for another number of elements."""
        if np.size(data) != self._array.size:
            raise RuntimeException(f"the array has {np.size(data)} elements, the OrtValue {self._array.size}")
        np.copyto(self._array, np.reshape(data, self._array.shape), casting="unsafe")

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)


def element(kind: Any) -> tuple[int, np.dtype]:
    """ONNX's number and the NumPy type of an element type, given as either. Raises Fail for another one."""
    if isinstance(kind, (int, np.integer)) and not isinstance(kind, bool):
        if int(kind) in NUMPY:
            return int(kind), np.dtype(NUMPY[int(kind)])
        raise Fail(f"element type {int(kind)} of ONNX is not supported; expected one of {', '.join(map(str, NUMPY))}")
    dtype = np.dtype(kind)
    number = number_of(dtype)
    if number not in NUMPY:
        raise Fail(f"element type {dtype} is not supported; expected a NumPy type of numbers, or ONNX's number of one")
    return number, dtype


def at_address(address: int, number: int, shape: Sequence[int]) -> np.ndarray:
    """An array over memory that the caller owns, and keeps as long as it is used."""
    import ctypes
    dtype = np.dtype(NUMPY[number])
    count = math.prod(shape)
    if not count:
        return np.zeros(tuple(shape), dtype)
    memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(int(address))
    return np.ctypeslib.as_array(memory).view(dtype).reshape(tuple(shape))
