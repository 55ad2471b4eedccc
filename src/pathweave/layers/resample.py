"""Resampling of any axes of a value of any rank: resample, with everything that ONNX Resize can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import at_least
from ..net.dim import Expr, unknown
from ..net.net import Layer, TensorSpec
from ..net.roles import Roles, space_axes
from ._common import (
    NUMBERS,
    ValueKind,
    as_type,
    axes_of,
    check_dtype,
    integers,
    is_empty,
    listed,
    numbers,
    take,
    widen,
    word,
)
from .resize import _ROUNDING, Resize2, interpolate, positions, ratio, scaled_length
from .resize import COORDINATES as SIMPLE_COORDINATES

MODES = ("nearest", "linear", "cubic")
COORDINATES = (*SIMPLE_COORDINATES, "half_pixel_symmetric", "tf_crop_and_resize")
ROUNDING = tuple(_ROUNDING)
POLICIES = ("stretch", "not_larger", "not_smaller")


def places(out: int, length: int, scale: float | np.floating, coordinates: str, roi: tuple[float, float]) -> np.ndarray:
    """Where `out` output elements lie among `length` input elements, float64. Source: ONNX Resize."""
    i = np.arange(out, dtype=np.float64)
    if coordinates == "half_pixel_symmetric":
        adjustment = out / (float(scale) * length)
        return length / 2 * (1 - adjustment) + (i + 0.5) / float(scale) - 0.5
    if coordinates == "tf_crop_and_resize":
        start, end = roi
        if out == 1:
            return np.array([0.5 * (start + end) * (length - 1)])
        return start * (length - 1) + i * (end - start) * (length - 1) / (out - 1)
    return positions(out, length, scale, coordinates)


def filter_taps(at: np.ndarray, length: int, scale: float, attrs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(indices, weights), both [out, taps], of the input elements that make each output. Source: ONNX Resize.

    With `antialias` the filter is as wide as the output's distance where that is larger than the input's.
    """
    if attrs["mode"] == "nearest":
        index = _ROUNDING[attrs["rounding"]](at)[:, None]
        return np.clip(index, 0, length - 1).astype(np.int64), np.ones_like(index)
    stretch = min(float(scale), 1.0) if attrs["antialias"] else 1.0
    reach = (1 if attrs["mode"] == "linear" else 2) / stretch
    below = np.floor(at)
    index = below[:, None] + np.arange(math.floor(-reach) + 1, math.ceil(reach) + 1)
    d = np.abs(index - at[:, None]) * stretch
    if attrs["mode"] == "linear":
        weight = np.maximum(0, 1 - d)
    else:
        a = float(attrs["cubic_a"])
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0))
    if attrs["exclude_outside"]:
        weight = np.where((index >= 0) & (index < length), weight, 0)
    if attrs["exclude_outside"] or attrs["antialias"]:
        weight = weight / weight.sum(1, keepdims=True)
    return np.clip(index, 0, length - 1).astype(np.int64), weight


class Resample(ValueKind):
    """x resampled along `axes` (() means all) to `size`, or by `scale`: one number per axis. Source: ONNX Resize.

    The length is floor(length * scale) in float32. `policy` not_larger, not_smaller: one scale for all axes, so that
    `size` is an upper or a lower bound. `roi`: all starts, then all ends, for coordinates tf_crop_and_resize, where what
    lies outside is `extrapolation`. Optional inputs instead: sizes, scales, region.
    """

    name = "resample"
    finds_sizes = True
    attributes = {"mode": "nearest", "coordinates": "half_pixel", "rounding": "round_prefer_floor", "cubic_a": -0.75,
                  "antialias": 0, "exclude_outside": 0, "extrapolation": 0.0, "policy": "stretch", "axes": (), "size": (),
                  "scale": (), "roi": ()}
    value_inputs = {1: "size", 2: "scale", 3: "roi"}

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return attrs["mode"] == "nearest" and not attrs["antialias"] and attrs["coordinates"] != "tf_crop_and_resize"

    def _targets(self, attrs: Mapping[str, Any], shape: Any) -> dict[int, tuple[int, float, tuple[float, float]]]:
        """axis -> (output length, scale, region)."""
        if bool(attrs["size"]) == bool(attrs["scale"]):
            raise ModelError(f"size={attrs['size']} scale={attrs['scale']}: expected exactly one of them")
        axes = axes_of(integers("axes", attrs["axes"]), len(shape)) or tuple(range(len(shape)))
        given = attrs["size"] or attrs["scale"]
        if not isinstance(given, tuple) or len(given) != len(axes):
            raise ModelError(f"size={attrs['size']} scale={attrs['scale']}: expected one number for each of the axes {axes}")
        empty = [a for a in axes if isinstance(shape[a], int) and shape[a] == 0]  # these stay as they are
        if is_empty([shape[a] for a in axes if a not in empty]):
            raise ShapeError(f"shape {listed(shape)}: expected axes {axes} that are not empty")
        roi = tuple(float(v) for v in attrs["roi"]) or (0.0,) * len(axes) + (1.0,) * len(axes)
        if len(roi) != 2 * len(axes):
            raise ModelError(f"roi={roi}: expected a start and an end for each of the axes {axes}")
        if attrs["size"]:
            sizes: tuple[Any, ...] = integers("size", given, len(axes), 0 if empty else 1)
            if any((d == 0) != (a in empty) for d, a in zip(sizes, axes) if isinstance(d, int)):
                raise ShapeError(f"size={sizes}: expected 0 for the axes of {listed(shape)} that are empty, and for no others")
            scales: list[Any] = [1.0 if a in empty else ratio(d, shape[a]) for d, a in zip(sizes, axes)]
            if attrs["policy"] != "stretch" and any(isinstance(d, Expr) for d in (*sizes, *(shape[a] for a in axes))):
                sizes = tuple(unknown() for _ in axes)
            elif attrs["policy"] != "stretch":
                one = min(scales) if attrs["policy"] == "not_larger" else max(scales)
                scales = [one] * len(axes)
                sizes = tuple(math.floor(float(one) * shape[a] + 0.5) for a in axes)
        else:
            scales = [np.float32(s) for s in given]
            if not all(0 < s < 1e9 for s in scales):
                raise ModelError(f"scale={given}: expected positive factors")
            sizes = tuple(scaled_length(shape[a], s) for s, a in zip(scales, axes))
        return {a: (d, s, (roi[i], roi[i + len(axes)])) for i, (a, d, s) in enumerate(zip(axes, sizes, scales))}

    def settle(self, layer: Layer, specs: list[Any]) -> Layer:
        """An image whose height and width alone change is a `resize2`."""
        attrs = self.complete(layer.attrs)
        plain = (attrs["coordinates"] in SIMPLE_COORDINATES and attrs["policy"] == "stretch"
                 and (attrs["mode"] == "nearest" or not attrs["antialias"])
                 and (attrs["mode"] != "cubic" or not attrs["exclude_outside"]))
        space = space_axes(self._image_roles(specs[0]))
        if not plain or specs[0].dtype == "bool" or len([v for v in layer.inputs if v]) != 1 or not space:
            return layer
        targets = self._targets(attrs, specs[0].shape)
        if any(isinstance(d, int) and d == 0 for d in specs[0].shape):
            return layer
        if any(a not in space and (d, s) != (specs[0].shape[a], 1.0) for a, (d, s, _) in targets.items()):
            return layer
        key, neutral = ("size", specs[0].shape) if attrs["size"] else ("scale", (1.0,) * specs[0].rank)
        values = tuple((targets[a][0] if attrs["size"] else float(targets[a][1])) if a in targets else neutral[a]
                       for a in space)
        kept = {k: attrs[k] for k in ("coordinates", "rounding", "cubic_a")}
        mode = "bilinear" if attrs["mode"] == "linear" else attrs["mode"]
        return layer.with_(kind="resize2", attrs={**kept, "mode": mode, key: values})

    @staticmethod
    def _image_roles(spec: TensorSpec) -> Roles:
        """Of a value as `resize2` takes it; () where it does not."""
        (before, _) = Resize2().roles({}, [spec])
        return before[0] if before and before[0] else ()

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_dtype("x", x, NUMBERS | {"bool"} if attrs["mode"] == "nearest" else NUMBERS)
        for name, allowed in (("mode", MODES), ("coordinates", COORDINATES), ("rounding", ROUNDING), ("policy", POLICIES)):
            word(name, attrs[name], allowed)
        numbers(attrs, "cubic_a", "extrapolation")
        out = list(x.shape)
        for axis, (length, _, _) in self._targets(attrs, x.shape).items():
            out[axis] = length
        if any(n != 0 and not at_least(d, 1) for d, n in zip(out, x.shape)):
            raise ShapeError(f"x is {x}: the output would be {listed(out)}")
        return [TensorSpec(x.dtype, tuple(out))]

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        shape, total = list(inputs[0].shape), 0
        for axis, (length, scale, _) in self._targets(attrs, shape).items():
            shape[axis] = length
            total += math.prod(shape) * (4 + 4 * math.ceil(1 / scale if attrs["antialias"] else 1))
        return super().effort(attrs, inputs, outputs) + total

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        y = widen(x)
        targets = self._targets(attrs, x.shape)
        if not x.size:
            return [np.empty([targets[a][0] if a in targets else d for a, d in enumerate(x.shape)], x.dtype)]
        if attrs["mode"] != "nearest" and y.dtype.kind != "f":
            y = y.astype(np.float64)
        outside = np.zeros((1,) * x.ndim, bool)
        for axis, (out, scale, roi) in targets.items():
            length = x.shape[axis]
            if (out, scale) == (length, 1.0) and attrs["coordinates"] != "tf_crop_and_resize":
                continue
            at = places(out, length, scale, attrs["coordinates"], roi)
            if attrs["coordinates"] == "tf_crop_and_resize":
                beyond = (at < 0) | (at > length - 1)
                outside = outside | beyond.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            y = interpolate(y, axis, *filter_taps(at, length, scale, attrs))
        if np.any(outside):
            y = np.where(outside, np.asarray(float(attrs["extrapolation"])).astype(y.dtype), y)
        if x.dtype.kind in "iu" and y.dtype.kind == "f":
            limits = np.iinfo(x.dtype)
            y = np.clip(np.trunc(y), limits.min, limits.max)
        return [as_type(y, x.dtype)]
