"""Linear quantisation: quantize_linear, dequantize_linear, dynamic_scale.

A scale and a zero point are for the whole value, for each position along one axis, or for blocks along one axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.dim import ceiling
from ..net.floats import HALVES, rounded
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    axis_of,
    broadcasts_to,
    check_dtype,
    check_same_dtype,
    check_shape,
    integers,
    same_outline,
    same_shape,
    take,
    word,
)

#: Element types that numbers are quantised to, and those that are read.
QUANTISED = ("u8", "i8", "u16", "i16")
STORED = frozenset((*QUANTISED, "i32"))


def spread(scale: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """A scale or zero point so that it broadcasts to a value of some shape."""
    if scale.size == 1 and not block:
        return scale.reshape(())
    at = axis_of(axis, len(shape))
    if not block:
        return scale.reshape(-1, *[1] * (len(shape) - 1 - at))
    return np.repeat(scale, block, at)[(slice(None),) * at + (slice(shape[at]),)]


def ends(dtype: str, bits: int = 0) -> tuple[int, int]:
    """The least and the largest integer of an element type, or of its lowest bits."""
    bits = bits or 8 * np.dtype(numpy_dtype(dtype)).itemsize
    return (0, 2**bits - 1) if dtype[0] == "u" else (-2**(bits - 1), 2**(bits - 1) - 1)


def to_integers(quotient: np.ndarray, zero: Any, low: int, high: int) -> np.ndarray:
    """float32 numbers to the nearest integers, ties to even, plus `zero`, cut to the range; NaN gives `low`. As int64."""
    with np.errstate(invalid="ignore"):
        known = np.where(quotient > -2.0**24, np.minimum(quotient, np.float32(2**24)), np.float32(-2**24))
    return np.clip(np.rint(known).astype(np.int64) + zero, low, high)


class _Linear(LayerKind):
    outline = same_outline

    @staticmethod
    def _check(x: TensorSpec, scale: TensorSpec, zero: TensorSpec | None, axis: Any, block: Any) -> None:
        (size,) = integers("block", block, 1, 0)
        check_dtype("scale", scale, frozenset(("f32",)))
        check_shape("zero_point", zero, scale.dims)
        if not size and tuple(scale.dims) in ((), (1,)):
            return
        at = axis_of(axis, x.rank)
        wanted = (*x.dims[:at], ceiling(x.dims[at], size), *x.dims[at + 1:]) if size else x.dims[at:at + 1]
        fits = same_shape(scale.dims, wanted) if size else broadcasts_to(scale.dims, wanted) and scale.rank == 1
        if not fits:
            raise ShapeError(f"scale is {scale} for {x} with axis={axis}, block={block}: expected one number, or the shape "
                             f"[{', '.join(map(str, wanted))}]")


class QuantizeLinear(_Linear):
    """y = saturate(round(x / scale) + zero_point?), ties to even: x f32, scale f32, zero_point of the result's type.

    `axis`: of a scale [D] for each position along it, and of blocks of `block` positions (0: none), whose scale has x's shape
    with ceil(D / block) along the axis. `dtype`: u8, i8, u16, i16, of which the lowest `bits` are used (0: all). `through`:
    f16 or bf16 where the quotient is rounded to that. NaN gives the least integer. Source: ONNX QuantizeLinear.
    """

    name = "quantize_linear"
    exact = True
    attributes = {"axis": 0, "block": 0, "dtype": "u8", "bits": 0, "through": ""}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, zero = take(inputs, 2, 3)
        check_dtype("x", x, frozenset(("f32",)))
        dtype = word("dtype", attrs["dtype"], QUANTISED)
        word("through", attrs["through"], ("", *HALVES))
        (bits,) = integers("bits", attrs["bits"], 1, 0)
        if bits > 8 * np.dtype(numpy_dtype(dtype)).itemsize:
            raise ModelError(f"attribute bits={bits}: expected no more than {dtype} has")
        if zero is not None:
            check_dtype("zero_point", zero, frozenset((dtype,)))
        self._check(x, scale, zero, attrs["axis"], attrs["block"])
        return [TensorSpec(dtype, x.dims)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, zero = take(inputs, 2, 3)
        axis, block, dtype = attrs["axis"], int(attrs["block"]), attrs["dtype"]
        with np.errstate(all="ignore"):
            quotient = x.astype(np.float32) / spread(scale.astype(np.float32), x.shape, axis, block)
        if attrs["through"]:
            quotient = rounded(quotient, attrs["through"])
        added = 0 if zero is None else spread(zero, x.shape, axis, block).astype(np.int64)
        return [np.asarray(to_integers(quotient, added, *ends(dtype, int(attrs["bits"]))).astype(numpy_dtype(dtype)))]


class DequantizeLinear(_Linear):
    """y = (x - zero_point?) * scale: x u8, i8, u16, i16 or i32, scale f32, y f32. See QuantizeLinear for `axis` and `block`.

    Source: ONNX DequantizeLinear.
    """

    name = "dequantize_linear"
    attributes = {"axis": 0, "block": 0}
    per_element = 2

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, zero = take(inputs, 2, 3)
        check_dtype("x", x, STORED)
        check_same_dtype(x, zero)
        self._check(x, scale, zero, attrs["axis"], attrs["block"])
        return [TensorSpec("f32", x.dims)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, zero = take(inputs, 2, 3)
        axis, block = attrs["axis"], int(attrs["block"])
        wide = x.astype(np.int64)
        if zero is not None:
            wide = wide - spread(zero, x.shape, axis, block)
        return [np.asarray(wide.astype(scale.dtype) * spread(scale, x.shape, axis, block)).astype(scale.dtype, copy=False)]


class DynamicScale(LayerKind):
    """(scale f32 [], zero_point u8 []) for x f32: scale = (max(x, 0) - min(x, 0)) / 255, zero_point = round(-min(x, 0) /
    scale).

    Where all of x is 0, of which ONNX says nothing, the scale is 1 as in ONNX Runtime, and zero_point is 0. A NaN counts as 0.
    Source: ONNX DynamicQuantizeLinear, which is this and quantize_linear.
    """

    name = "dynamic_scale"
    exact = True
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, frozenset(("f32",)))
        return [TensorSpec("f32", ()), TensorSpec("u8", ())]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return ()

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * inputs[0].elements

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        single = x.astype(np.float32)
        low, high = np.float32(np.fmin.reduce(single, None, initial=0.0)), np.float32(np.fmax.reduce(single, None, initial=0.0))
        with np.errstate(all="ignore"):
            scale = (high - low) / np.float32(255) if high > low else np.float32(1)
            zero = to_integers(-low / scale, 0, 0, 255)
        return [np.asarray(scale, x.dtype), np.asarray(zero.astype(np.uint8))]
