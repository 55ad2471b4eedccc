"""TensorProto to NumPy, inside the message or in an external file; every size is checked before it is believed."""

from __future__ import annotations

import math

import numpy as np

from ...errors import FileFormatError, UnsupportedOperatorError
from ...net.size import MOST_RANK
from ...words import counted
from .external import External

#: ONNX element type -> (pathweave dtype, NumPy type of the stored bits, field that holds it when raw_data does not)
ELEMENT_TYPES = {
    1: ("f32", "<f4", "float_data"), 2: ("u8", "<u1", "int32_data"), 3: ("i8", "<i1", "int32_data"),
    4: ("u16", "<u2", "int32_data"), 5: ("i16", "<i2", "int32_data"), 6: ("i32", "<i4", "int32_data"),
    7: ("i64", "<i8", "int64_data"), 9: ("bool", "<u1", "int32_data"), 10: ("f16", "<u2", "int32_data"),
    11: ("f64", "<f8", "double_data"), 12: ("u32", "<u4", "uint64_data"), 13: ("u64", "<u8", "uint64_data"),
    16: ("bf16", "<u2", "int32_data"),
}
#: ONNX element type -> (name here, bits, signed), several in a byte: arrays have them one by one, as i8 or u8
FEW_BITS = {21: ("u4", 4, False), 22: ("i4", 4, True), 25: ("u2", 2, False), 26: ("i2", 2, True)}
#: Element types of ONNX that no array here can have, by name
OTHER_TYPES = {0: "undefined", 8: "string", 14: "complex64", 15: "complex128", 17: "float8e4m3fn", 18: "float8e4m3fnuz",
               19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0"}
MAX_RANK = MOST_RANK
#: A sparse tensor becomes a dense one of at most this size.
MAX_SPARSE_BYTES = 512 << 20


def element_type(number: int, where: str) -> str:
    """pathweave dtype of an ONNX element type.

    Raises UnsupportedOperatorError for strings, complex numbers, 4- and 8-bit floats.
    """
    if number not in ELEMENT_TYPES:
        raise UnsupportedOperatorError(
            f"{where}: ONNX element type {number} ({OTHER_TYPES.get(number, 'unknown')}) is not supported; "
            f"expected one of {', '.join(f'{n} ({t[0]})' for n, t in ELEMENT_TYPES.items())}")
    return ELEMENT_TYPES[number][0]


def to_array(tensor, external: External, where: str = "", raw: memoryview | None = None) -> tuple[np.ndarray, str]:
    """A tensor's contents and its dtype in the file; f16 and bf16 contents come widened to float32, integers of 4 and 2 bits
    (u4, i4, u2, i2) as u8 and i8.

    `external`: where external data may lie. `raw`: the raw bytes, where they were taken out of the message. The array may
    be read-only.
    Raises FileFormatError when sizes do not agree, UnsupportedOperatorError for element types without a NumPy type.
    """
    where = where or f"tensor {tensor.name!r}"
    few = FEW_BITS.get(tensor.data_type)
    dtype = few[0] if few else element_type(tensor.data_type, where)
    stored, field = ("<u1", "int32_data") if few else ELEMENT_TYPES[tensor.data_type][1:]
    dims = tuple(int(d) for d in tensor.dims)
    if len(dims) > MAX_RANK or any(d < 0 for d in dims):
        raise FileFormatError(f"{where}: dims {list(dims)[:40]}: expected at most {MAX_RANK} sizes of 0 or more")
    if tensor.HasField("segment"):
        raise FileFormatError(f"{where}: tensors in segments are not supported; save the model without them")
    count = math.prod(dims)
    if few:
        count = -(-count * few[1] // 8)
    nbytes = count * np.dtype(stored).itemsize
    if tensor.data_location == 1:
        entries = {e.key: e.value for e in tensor.external_data}
        bits = external.read(entries, np.dtype(stored), nbytes, where)
    elif raw is not None or tensor.HasField("raw_data"):
        detached, raw = raw is not None, tensor.raw_data if raw is None else raw
        if len(raw) != nbytes:
            raise FileFormatError(f"{where}: raw_data has {len(raw)} bytes, "
                                  f"but dims {list(dims)} of {dtype} need {nbytes}")
        bits = np.frombuffer(raw, stored)
        if detached:
            bits = bits.copy()  # aligned, and free of the file
    else:
        data = getattr(tensor, field)
        if len(data) != count:
            raise FileFormatError(f"{where}: {field} has {counted(len(data), 'element')}, but dims {list(dims)} need {count}")
        wide = np.array(data, {"int32_data": np.int64, "uint64_data": np.uint64}.get(field, stored))
        with np.errstate(all="ignore"):
            bits = wide.astype(stored)
    return (_unpack(bits, math.prod(dims), *few[1:]) if few else _decode(bits, dtype)).reshape(dims), dtype


def _unpack(packed: np.ndarray, count: int, bits: int, signed: bool) -> np.ndarray:
    """Integers of few bits, those in the low bits of a byte first, as bytes."""
    parts = packed[:, None] >> np.arange(0, 8, bits, dtype=np.uint8) & np.uint8(2**bits - 1)
    numbers = parts.reshape(-1)[:count]
    half = np.int8(2**(bits - 1))
    return (numbers.astype(np.int8) ^ half) - half if signed else numbers


def dense(sparse, external: External, where: str) -> tuple[np.ndarray, str]:
    """A SparseTensorProto as `to_array` gives a dense one. Raises FileFormatError when sizes or indices do not agree."""
    values, dtype = to_array(sparse.values, external, f"{where}, values")
    indices, _ = to_array(sparse.indices, external, f"{where}, indices")
    dims = tuple(int(d) for d in sparse.dims)
    if any(d < 0 for d in dims) or math.prod(dims) * values.itemsize > MAX_SPARSE_BYTES:
        raise FileFormatError(f"{where}: dims {list(dims)}: expected sizes of at most {MAX_SPARSE_BYTES} bytes in all")
    count = math.prod(dims)
    fits = indices.dtype.kind in "iu" and values.ndim == 1 and indices.shape in (values.shape, (*values.shape, len(dims)))
    flat = None
    if fits and indices.ndim == 2:
        fits = bool(np.all((indices >= 0) & (indices < np.array(dims))))
        flat = np.ravel_multi_index(tuple(indices.T), dims) if fits and count else indices[:, :1].reshape(-1)[:0]
    elif fits:
        flat, fits = indices, bool(np.all((indices >= 0) & (indices < count)))
    if not fits or flat is None:
        raise FileFormatError(f"{where}: indices {indices.dtype}{list(indices.shape)} do not fit {values.size} values of a "
                              f"tensor {list(dims)}")
    array = np.zeros(count, values.dtype)
    array[flat] = values[:len(flat)]
    return array.reshape(dims), dtype


def _decode(bits: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bool":
        return bits != 0
    if dtype == "f16":
        return bits.view(np.float16).astype(np.float32)
    if dtype == "bf16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits
