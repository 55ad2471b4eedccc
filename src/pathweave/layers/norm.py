"""Normalisation and per-channel affine maps: batch_norm, madd, instance_norm, layer_norm, lrn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net.net import TensorSpec
from . import LayerKind
from ._common import (
    FLOATS,
    as_type,
    check_dtype,
    check_same_dtype,
    check_shape,
    integers,
    numbers,
    same_outline,
    take,
    widen,
)
from ._linear import Affine
from .normalise import NormOverAxes, normalised_axes, scaled


def _per_channel(array: np.ndarray, rank: int) -> np.ndarray:
    """A [C] array shaped so that it broadcasts along axis 1 of a value of this rank; a scalar as it is."""
    return array if array.ndim == 0 else array.reshape(-1, *[1] * (rank - 2))


def _check_channels(x: TensorSpec, **parameters: TensorSpec | None) -> None:
    check_dtype("x", x, FLOATS)
    check_same_dtype(x, *parameters.values())
    if x.rank < 2:
        raise ShapeError(f"x is {x}: expected rank 2 or more, channels on axis 1")
    for name, spec in parameters.items():
        check_shape(name, spec, x.dims[1:2])


class BatchNorm(LayerKind):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias along axis 1; the four are [C].

    Source: ONNX BatchNormalization, inference.
    """

    name = "batch_norm"
    space = -1
    outline = same_outline
    attributes = {"epsilon": 1e-5}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, bias, mean, var = take(inputs, 5)
        _check_channels(x, scale=scale, bias=bias, mean=mean, var=var)
        numbers(attrs, "epsilon")
        return [x]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, *parameters = widen(*take(inputs, 5))
        scale, bias, mean, var = (_per_channel(p, x.ndim) for p in parameters)
        y = (x - mean) / np.sqrt(var + float(attrs["epsilon"])) * scale + bias
        return [as_type(y, inputs[0].dtype)]

    def affine(self, attrs: Mapping[str, Any], constants: list[Any]) -> Affine | None:
        if any(c is None for c in constants[1:]):
            return None
        scale, bias, mean, variance = (c.astype(np.float64) for c in constants[1:])
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + float(attrs.get("epsilon", 1e-5)))
            return Affine(0, factor, bias - mean * factor, True)


class Madd(LayerKind):
    """y = x * scale + shift; scale and shift are [C] (act on axis 1) or [] (scalar)."""

    name = "madd"
    outline = same_outline
    per_element = 2
    attributes = {}

    @staticmethod
    def formula(x: Any, scale: Any, shift: Any) -> Any:
        return x * scale + shift

    def affine(self, attrs: Mapping[str, Any], constants: list[Any]) -> Affine | None:
        if any(c is None for c in constants[1:]):
            return None
        scale, shift = (c.astype(np.float64) for c in constants[1:])
        return Affine(0, scale, shift, True)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, shift = take(inputs, 3)
        _check_channels(x if scale.rank or shift.rank else TensorSpec(x.dtype, (1, 1)),
                        **{n: s for n, s in (("scale", scale), ("shift", shift)) if s.rank})
        check_same_dtype(x, scale, shift)
        return [x]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, shift = widen(*take(inputs, 3))
        return [as_type(x * _per_channel(scale, x.ndim) + _per_channel(shift, x.ndim), inputs[0].dtype)]


class InstanceNorm(LayerKind):
    """Each channel of each image to mean 0 and variance 1, then * scale? + bias? ([C] each).

    Source: ONNX InstanceNormalization.
    """

    name = "instance_norm"
    space = -1
    outline = same_outline
    epilogue = ("add", "act")
    attributes = {"epsilon": 1e-5}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, scale, bias = take(inputs, 1, 3)
        _check_channels(x, scale=scale, bias=bias)
        numbers(attrs, "epsilon")
        if x.rank < 3:
            raise ShapeError(f"x is {x}: expected rank 3 or more")
        return [x]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[2:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, bias = widen(*take(inputs, 1, 3))
        axes = tuple(range(2, x.ndim))
        if not x.size:
            return [as_type(x, inputs[0].dtype)]
        centred = x - x.mean(axes, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axes, keepdims=True) + float(attrs["epsilon"]))
        parameters = (None if p is None else _per_channel(p, x.ndim) for p in (scale, bias))
        return [as_type(scaled(centred / spread, *parameters), inputs[0].dtype)]


class LayerNorm(NormOverAxes):
    """Mean 0 and variance 1 over the axes from `axis` on, or over `axes` alone, then * scale? + bias? (both broadcast to x).

    Source: ONNX LayerNormalization (first output).
    """

    name = "layer_norm"

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, scale, bias = widen(*take(inputs, 1, 3))
        axes = normalised_axes(attrs, x.ndim)
        if not x.size:
            return [as_type(x, inputs[0].dtype)]
        centred = x - x.mean(axes, keepdims=True)
        y = centred / np.sqrt((centred * centred).mean(axes, keepdims=True) + float(attrs["epsilon"]))
        return [as_type(scaled(y, scale, bias), inputs[0].dtype)]


class Lrn(LayerKind):
    """Local response normalisation across `size` channels: y = x / (bias + alpha / size * sum x^2) ^ beta.

    Source: ONNX LRN: channels c - floor((size - 1) / 2) to c + ceil((size - 1) / 2).
    """

    name = "lrn"
    space = -1
    outline = same_outline
    attributes = {"size": None, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        integers("size", attrs["size"], 1, 1)
        numbers(attrs, "alpha", "beta", "bias")
        _check_channels(x)
        return [x]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return int(attrs["size"])

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        images = math.prod(inputs[0].shape[2:]) * inputs[0].shape[0]
        return (inputs[0].shape[1] + int(attrs["size"])) * images + int(attrs["size"]) * outputs[0].elements

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        wide, size = widen(x), int(attrs["size"])
        most = max(0, x.shape[1] - 1)  # nothing lies further away
        before, behind = min((size - 1) // 2, most), min(size // 2, most)
        width = [(0, 0)] * x.ndim
        width[1] = (before, behind)
        squares = np.pad(wide * wide, width)
        total = sum(squares[:, k:k + x.shape[1]] for k in range(before + behind + 1))
        y = wide / (float(attrs["bias"]) + float(attrs["alpha"]) / size * total) ** float(attrs["beta"])
        return [as_type(y, x.dtype)]
