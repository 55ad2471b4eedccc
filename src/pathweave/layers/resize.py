"""Resampling of images: resize2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import assumed
from ..net.dim import Expr, highest, unknown
from ..net.net import TensorSpec
from ._common import (
    NUMBERS,
    ValueKind,
    as_type,
    check_dtype,
    check_rank,
    integers,
    is_empty,
    listed,
    numbers,
    same_shape,
    take,
    widen,
    word,
)

COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


#: Numbers up to here are exact in float32.
_EXACT = 2**24
#: Of a scale as a fraction, such as 3/2: the largest numerator for which an open length is followed.
_MOST_NUMERATOR = 4096


def scaled_length(length: int | Expr, scale: np.float32) -> int | Expr:
    """floor(length * scale) in float32. An open length is assumed to be so small that the product is exact."""
    if not isinstance(length, Expr):
        return math.floor(np.float32(length) * scale)
    over, under = float(scale).as_integer_ratio()
    if over <= _MOST_NUMERATOR and assumed((_EXACT, ">=", length * over)):
        return length * over // under
    return unknown(0, math.ceil(highest(length) * float(scale) * (1 + 2**-20)) + 1)


def ratio(size: int | Expr, length: int | Expr) -> np.float32:
    """The scale from a length to a size; NaN where one of them is open."""
    if isinstance(size, Expr) or isinstance(length, Expr):
        return np.float32(np.nan)
    return np.float32(size) / np.float32(length)


def positions(out: int, length: int, scale: float | np.floating, coordinates: str) -> np.ndarray:
    """Where the centres of `out` output pixels lie among `length` input pixels, float64. Source: ONNX Resize.

    Computed in the precision of `scale`, a Python number being float64.
    """
    number = np.asarray(scale).dtype.type
    i = np.arange(out).astype(number)
    if coordinates == "asymmetric":
        at = i / number(scale)
    elif coordinates == "align_corners":
        at = i * number(length - 1) / number(max(out - 1, 1))
    elif coordinates == "pytorch_half_pixel" and out == 1:
        at = np.zeros(1)
    else:
        at = (i + number(0.5)) / number(scale) - number(0.5)
    return at.astype(np.float64)


def taps(at: np.ndarray, length: int, mode: str, rounding: str = "round_prefer_floor", cubic_a: float = -0.75) -> Any:
    """(indices [out, taps], weights [out, taps] float64) of the input pixels; beyond the border the edge repeats."""
    if mode == "nearest":
        index = _ROUNDING[rounding](at)[:, None]
        weight = np.ones_like(index)
    elif mode == "bilinear":
        below = np.floor(at)
        index = below[:, None] + np.arange(2)
        weight = np.stack([1 - (at - below), at - below], 1)
    else:
        below = np.floor(at)
        index = below[:, None] + np.arange(-1, 3)
        d, a = np.abs(at[:, None] - index), cubic_a
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weight = np.where(d <= 1, near, far)
    return np.clip(index, 0, length - 1).astype(np.int64), weight


def interpolate(x: np.ndarray, axis: int, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum of x taken at index[:, k] times weight[:, k] along an axis, in x's precision."""
    if index.shape[1] == 1:
        return np.take(x, index[:, 0], axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return sum(np.take(x, index[:, k], axis) * weight[:, k].astype(x.dtype).reshape(shape)
               for k in range(index.shape[1]))


class Resize2(ValueKind):
    """x [N,C,H,W] resampled to `size` (two integers), or by `scale` (two factors, size = floor(length * scale)).

    Optional inputs instead: sizes, scales. Four numbers must leave N and C as they are. Scales are float32, and lengths and
    positions are computed in float32 too: ONNX names no precision, and ONNX Runtime and PyTorch do so. In float64, as in
    onnx.reference, 9 pixels by float32(5/3) would give 14 instead of 15, and the pixel that a position on the border
    between two is nearest to would depend on how 1/3 was rounded. Source: ONNX Resize without antialiasing and without
    exclude_outside.
    """

    name = "resize2"
    moves = slice(1)
    space = 2
    attributes = {"mode": "nearest", "coordinates": "half_pixel", "rounding": "round_prefer_floor",
                  "size": (), "scale": (), "cubic_a": -0.75}
    value_inputs = {1: "size", 2: "scale"}

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return attrs["mode"] == "nearest"

    @staticmethod
    def _target(attrs: Mapping[str, Any], shape: Any) -> Any:
        """[(output length, scale)] for H and W."""
        if bool(attrs["size"]) == bool(attrs["scale"]):
            raise ModelError(f"resize2: size={attrs['size']} scale={attrs['scale']}: expected exactly one of them")
        given = attrs["size"] or attrs["scale"]
        kept = shape[:2] if attrs["size"] else (1, 1)
        if not isinstance(given, tuple) or (len(given) == 4 and not same_shape(given[:2], kept)) or len(given) not in (2, 4):
            raise ModelError(f"resize2: size={attrs['size']} scale={attrs['scale']} on shape {listed(shape)}: expected "
                             "two numbers, for H and W, or four that leave N and C as they are")
        if attrs["size"]:
            sizes = integers("size", given[-2:], 2, 1)
            return [(d, ratio(d, n)) for d, n in zip(sizes, shape[2:])]
        scales = tuple(np.float32(s) for s in given[-2:])
        if not all(0 < s < 1e9 for s in scales):
            raise ModelError(f"attribute scale={given}: expected positive factors")
        return [(scaled_length(n, s), s) for n, s in zip(shape[2:], scales)]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_rank("x", x, 4)
        check_dtype("x", x, NUMBERS)
        word("mode", attrs["mode"], ("nearest", "bilinear", "cubic"))
        word("coordinates", attrs["coordinates"], COORDINATES)
        word("rounding", attrs["rounding"], tuple(_ROUNDING))
        numbers(attrs, "cubic_a")
        if is_empty(x.shape[2:]):
            raise ShapeError(f"x is {x}: expected an image that is not empty")
        out = tuple(d for d, _ in self._target(attrs, x.shape))
        if is_empty(out):
            raise ShapeError(f"x is {x}, scale={attrs['scale']}: the output would be empty")
        return [TensorSpec(x.dtype, (*x.shape[:2], *out))]

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        n, c, _, width = inputs[0].shape
        between = n * c * outputs[0].shape[2] * width  # rows are resampled first
        return super().effort(attrs, inputs, outputs) + 4 * (between + outputs[0].elements)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        y = widen(x)
        if attrs["mode"] != "nearest" and y.dtype.kind != "f":
            y = y.astype(np.float64)
        for axis, (out, scale) in zip((2, 3), self._target(attrs, x.shape)):
            at = positions(out, x.shape[axis], scale, attrs["coordinates"])
            y = interpolate(y, axis, *taps(at, x.shape[axis], attrs["mode"], attrs["rounding"],
                                           float(attrs["cubic_a"])))
        if x.dtype.kind in "iu" and y.dtype.kind == "f":
            limits = np.iinfo(x.dtype)
            y = np.clip(np.trunc(y), limits.min, limits.max)
        return [as_type(y, x.dtype)]
