"""Normalisation by statistics of some axes: rms_norm, group_norm, mean_variance_norm, lp_norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import divides
from ..net.net import TensorSpec
from . import LayerKind
from ._common import (
    FLOATS,
    as_type,
    axes_of,
    axis_of,
    broadcasts_to,
    check_dtype,
    check_same_dtype,
    check_shape,
    integers,
    numbers,
    same_outline,
    take,
    widen,
)


def normalised_axes(attrs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    """The axes that a layer normalises over: `axes` where there are any, else all from `axis` on."""
    if attrs["axes"] == ():
        return tuple(range(axis_of(attrs["axis"], rank), rank))
    return tuple(sorted(axes_of(integers("axes", attrs["axes"]), rank)))


def check_affine(x: TensorSpec, **parameters: TensorSpec | None) -> None:
    """Raise ModelError or ShapeError unless x is of floats and each parameter has its type and broadcasts to it."""
    check_dtype("x", x, FLOATS)
    check_same_dtype(x, *parameters.values())
    for name, spec in parameters.items():
        if spec is not None and not broadcasts_to(spec.dims, x.dims):
            raise ShapeError(f"{name} is {spec}: it does not broadcast to x, {x}")


def scaled(y: np.ndarray, scale: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    """y * scale + bias, where they are there."""
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def transposed_axes(self: LayerKind, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """`LayerKind.before_transpose` of a kind with these attributes."""
    axes = normalised_axes(self.complete(attrs), len(perm))
    return {**attrs, "axes": tuple(sorted(perm[a] for a in axes))}, perm


class NormOverAxes(LayerKind):
    """What the norms over axes share: x, scale? and bias?, of which the last two broadcast to x."""

    outline = same_outline
    epilogue = ("add", "act")
    attributes = {"axis": -1, "axes": (), "epsilon": 1e-5}
    before_transpose = transposed_axes

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, bias = take(inputs, 1, 3)
        check_affine(x, scale=scale, bias=bias)
        normalised_axes(attrs, x.rank)
        numbers(attrs, "epsilon")
        return [x]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[a] for a in normalised_axes(attrs, inputs[0].rank))


class RmsNorm(NormOverAxes):
    """x / sqrt(mean x^2 + epsilon) * scale? + bias? over the axes from `axis` on, or over `axes` alone.

    Scale and bias broadcast to x. Source: ONNX RMSNormalization, Zhang and Sennrich 2019, arXiv 1910.07467.
    """

    name = "rms_norm"

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, bias = widen(*take(inputs, 1, 3))
        if not x.size:
            return [as_type(x, inputs[0].dtype)]
        mean = (x * x).mean(normalised_axes(attrs, x.ndim), keepdims=True)
        return [as_type(scaled(x / np.sqrt(mean + float(attrs["epsilon"])), scale, bias), inputs[0].dtype)]


class GroupNorm(LayerKind):
    """Each of `groups` groups of channels of an image to mean 0 and variance 1, then * scale? + bias? ([C] each).

    Channels are axis 1. Source: ONNX GroupNormalization, Wu and He 2018, arXiv 1803.08494.
    """

    name = "group_norm"
    space = -1
    outline = same_outline
    epilogue = ("add", "act")
    attributes = {"groups": None, "epsilon": 1e-5}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, bias = take(inputs, 1, 3)
        check_dtype("x", x, FLOATS)
        check_same_dtype(x, scale, bias)
        (groups,) = integers("groups", attrs["groups"], 1, 1)
        numbers(attrs, "epsilon")
        if x.rank < 2:
            raise ShapeError(f"x is {x}: expected rank 2 or more, channels on axis 1")
        if not divides(groups, x.dims[1]):
            raise ShapeError(f"x is {x}: expected a number of channels that groups={groups} divides")
        for name, spec in (("scale", scale), ("bias", bias)):
            check_shape(name, spec, x.dims[1:2])
        return [x]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[1:]) // int(attrs["groups"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, bias = widen(*take(inputs, 1, 3))
        if not x.size:
            return [as_type(x, inputs[0].dtype)]
        folded = x.reshape(x.shape[0], int(attrs["groups"]), -1)
        centred = folded - folded.mean(2, keepdims=True)
        y = centred / np.sqrt((centred * centred).mean(2, keepdims=True) + float(attrs["epsilon"]))
        channels = (-1, *[1] * (x.ndim - 2))
        parameters = (None if p is None else p.reshape(channels) for p in (scale, bias))
        return [as_type(scaled(y.reshape(x.shape), *parameters), inputs[0].dtype)]


class MeanVarianceNorm(LayerKind):
    """(x - mean) / (sqrt(variance) + epsilon) over `axes`. Source: ONNX MeanVarianceNormalization."""

    name = "mean_variance_norm"
    outline = same_outline
    epilogue = ("add", "act")
    attributes = {"axes": (0, 2, 3), "epsilon": 1e-9}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        axes_of(integers("axes", attrs["axes"]), x.rank)
        numbers(attrs, "epsilon")
        return [x]

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        return {**attrs, "axes": tuple(sorted(perm[a] for a in attrs.get("axes", (0, 2, 3))))}, perm

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[a] for a in axes_of(attrs["axes"], inputs[0].rank))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        if not x.size:
            return [x.copy()]
        wide, axes = widen(x), axes_of(attrs["axes"], x.ndim)
        centred = wide - wide.mean(axes, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axes, keepdims=True))
        return [as_type(centred / (deviation + float(attrs["epsilon"])), x.dtype)]


class LpNorm(LayerKind):
    """x / max(norm, least) along `axis`; norm: sum |x| for p=1, sqrt(sum x^2) for p=2. A divisor of 0 gives 0.

    Source: ONNX LpNormalization.
    """

    name = "lp_norm"
    outline = same_outline
    epilogue = ("add", "act")
    attributes = {"axis": -1, "p": 2, "least": 0.0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        axis_of(attrs["axis"], x.rank)
        numbers(attrs, "least")
        if attrs["p"] not in (1, 2):
            raise ModelError(f"attribute p={attrs['p']!r}: expected 1 or 2")
        return [x]

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        return {**attrs, "axis": perm[attrs.get("axis", -1)]}, perm

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        wide, axis = widen(x), int(attrs["axis"])
        norm = np.abs(wide).sum(axis, keepdims=True) if attrs["p"] == 1 else np.sqrt((wide * wide).sum(axis, keepdims=True))
        norm = np.maximum(norm, float(attrs["least"]))
        return [as_type(np.where(norm == 0, 0, wide / np.where(norm == 0, 1, norm)), x.dtype)]
