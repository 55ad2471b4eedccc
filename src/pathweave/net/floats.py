"""Rounding to float16 and bfloat16, and the arrays in which callers hand over values of every element type."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..errors import DTypeError
from .format import numpy_dtype
from .net import TensorSpec

#: Element types of 16 bits in which nothing is computed: values have them at the border of a net, or are rounded to them.
HALVES = ("f16", "bf16")


def to_bf16(array: np.ndarray) -> np.ndarray:
    """Numbers as the bits of bfloat16 (uint16): to the nearest, ties to even; beyond the largest infinite; NaN stays NaN.

    float64 is rounded once; integers pass through float32, as in ONNX Runtime.
    """
    single = array.astype(np.float32)
    bits = np.atleast_1d(single).view(np.uint32).astype(np.uint64)
    if array.dtype == np.float64:
        # float32 rounded to odd keeps what a second rounding must know. Source: Boldo and Melquiond 2008.
        wide, rounded = np.atleast_1d(array), np.atleast_1d(single)
        bits -= np.abs(rounded) > np.abs(wide)
        bits |= (rounded != wide) & ~np.isnan(wide)
    quiet = (bits >> 16) | 0x40
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    found = np.where(np.isnan(np.atleast_1d(single)), quiet, nearest).astype(np.uint16)
    return found.reshape(array.shape)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """The float32 that bits of bfloat16 (uint16) stand for; exact."""
    return (np.atleast_1d(bits).astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 numbers that `f16` or `bf16` can hold, nearest to those of an array; what is too large becomes infinite."""
    with np.errstate(all="ignore"):
        if dtype == "bf16":
            return from_bf16(to_bf16(array))
        return array.astype(np.float16).astype(np.float32)


@cache
def host_dtype(dtype: str) -> np.dtype:
    """NumPy dtype of the arrays that callers get: bfloat16 of ml_dtypes where that is installed, else its bits as uint16."""
    if dtype == "bf16":
        try:
            import ml_dtypes
            return np.dtype(ml_dtypes.bfloat16)
        except ImportError:
            pass
    return np.dtype(numpy_dtype(dtype))


def bits_of(array: np.ndarray) -> np.ndarray:
    """An array as the native core and the meanings take it: bfloat16 as uint16, everything else as it is."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def numbers_of(array: np.ndarray, dtype: str = "") -> np.ndarray:
    """An array whose numbers NumPy can compare: bfloat16, or its bits where `dtype` says so, as float32."""
    array = np.asarray(array)
    return from_bf16(bits_of(array)) if "bf16" in (dtype, {"bfloat16": "bf16"}.get(array.dtype.name)) else array


def scalar(where: str, spec: TensorSpec, value: bool | int | float) -> np.ndarray:
    """A Python number for an input of rank 0, in the input's element type, bfloat16 as bits.

    True and False are for bool; whole numbers for integers and, where they are exact there, floats; others for floats alone,
    rounded to the nearest. Raises DTypeError for every other one, and for one that is too large.
    """
    dtype = np.dtype(numpy_dtype(spec.dtype))
    with np.errstate(all="ignore"):
        if isinstance(value, bool) or dtype.kind == "b":
            fits = isinstance(value, bool) and dtype.kind == "b"
        elif dtype.kind == "f" or spec.dtype == "bf16":
            try:
                wide = float(value)
            except OverflowError:
                wide = np.inf
            bits = to_bf16(np.array(wide)) if spec.dtype == "bf16" else np.array(wide, dtype)
            number = float(from_bf16(bits) if spec.dtype == "bf16" else bits)
            fits = number == value if isinstance(value, int) else np.isfinite(number) or not np.isfinite(value)
            if fits:
                return bits
        else:
            fits = isinstance(value, int) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    if not fits:
        raise DTypeError(f"{where}: expected a number that {spec} holds, got the {type(value).__name__} {_cut(value)}; give "
                         f"another one, or a NumPy array of the element type that is declared")
    return np.array(value, dtype)


def _cut(value: int | float) -> str:
    """A number in a message; `str` refuses integers of thousands of digits."""
    return f"of {value.bit_length()} bits" if isinstance(value, int) and value.bit_length() > 128 else repr(value)


def taken(where: str, spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """What a caller gave for an input, in the input's element type, bfloat16 as bits.

    Arrays of the declared type are taken as they are; float16 and bfloat16 inputs take float32 too, rounded as a Cast
    does. bfloat16 may come as uint16 bits. Raises DTypeError for every other type.
    """
    dtype = np.dtype(numpy_dtype(spec.dtype))
    if array.dtype == dtype:
        return array
    if spec.dtype == "bf16" and array.dtype.name == "bfloat16":
        return array.view(np.uint16)
    if spec.dtype in HALVES and array.dtype == np.float32:
        with np.errstate(all="ignore"):
            return to_bf16(array) if spec.dtype == "bf16" else array.astype(np.float16)
    name = {"bf16": "bfloat16"}.get(spec.dtype, str(dtype))
    convert = f"x.astype({str(dtype)!r})" if spec.dtype != "bf16" else "x.astype(ml_dtypes.bfloat16)"
    raise DTypeError(f"{where}: expected element type {name} ({spec}), got {array.dtype}; "
                     f"convert it yourself if that is meant: {convert}")
