"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from ..net.dim import largest, smallest
from ..net.net import Layer, TensorSpec
from . import Outline
from ._common import FLOATS, NUMBERS, ValueKind, as_type, axes_of, check_dtype, cut, integers, take, widen, word


def _mean(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    total = x.sum(axis, keepdims=keepdims)
    if x.dtype.kind == "f":
        return x.mean(axis, keepdims=keepdims) if x.size else np.full_like(total, np.nan)  # NumPy would warn of none
    return np.trunc(total / max(1, x.size // max(1, total.size)))


def _extreme(function: Callable[..., Any], side: Any) -> Callable[..., Any]:
    """Largest (side 0) or smallest (side 1) element; of none, the type's least or greatest number, as ONNX says."""
    def reduced(x: np.ndarray, axis: Any, keepdims: bool) -> Any:
        if x.size:
            return function(x, axis, keepdims=keepdims)
        kind = x.dtype.kind
        limits = (False, True) if kind == "b" else (-np.inf, np.inf) if kind == "f" else \
            (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
        return function(x, axis, keepdims=keepdims, initial=limits[side])
    return reduced


def _log_sum_exp(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    high = _extreme(np.max, 0)(x, axis, True)
    high = np.where(np.isfinite(high), high, 0)
    with np.errstate(divide="ignore"):
        y = np.log(np.exp(x - high).sum(axis, keepdims=True)) + high
    return y if keepdims else y.reshape([d for i, d in enumerate(y.shape) if i not in axis])


#: word -> (function of x, axes, keepdims; element types). Source: ONNX Reduce*.
_OPS = {
    "sum": (lambda x, a, k: x.sum(a, keepdims=k), NUMBERS),
    "mean": (_mean, NUMBERS),
    "max": (_extreme(np.max, 0), NUMBERS | {"bool"}),
    "min": (_extreme(np.min, 1), NUMBERS | {"bool"}),
    "prod": (lambda x, a, k: x.prod(a, keepdims=k), NUMBERS),
    "l1": (lambda x, a, k: np.abs(x).sum(a, keepdims=k), NUMBERS),
    "l2": (lambda x, a, k: np.sqrt((x * x).sum(a, keepdims=k)), NUMBERS),
    "sum_square": (lambda x, a, k: (x * x).sum(a, keepdims=k), NUMBERS),
    "log_sum": (lambda x, a, k: np.log(x.sum(a, keepdims=k)), NUMBERS),
    "log_sum_exp": (_log_sum_exp, NUMBERS),
}
#: Those whose results are no integers where x is one of them: computed in float64, and cut.
_IN_DOUBLE = ("l2", "log_sum", "log_sum_exp")


#: word -> the function of two sizes that may be open
_ON_SIZES = {"sum": lambda a, b: a + b, "prod": lambda a, b: a * b, "max": largest, "min": smallest}


#: word -> the kind that computes the same over no axis, and how many times it takes x; x itself for all others
_OVER_NONE = {"l1": ("abs", 1), "l2": ("abs", 1), "sum_square": ("mul", 2), "log_sum": ("log", 1)}


class Reduce(ValueKind):
    """`op` over `axes` of x; the axes stay with length 1, or go with keepdims=0. Source: ONNX Reduce*.

    axes=() means every axis, or with noop=1 none. An optional second input has the axes instead. Integers stay integers: their
    mean is cut towards zero, that of none is 0, and roots and logarithms are cut too.
    """

    name = "reduce"
    attributes = {"op": None, "axes": (), "keepdims": 1, "noop": 0}
    value_inputs = {1: "axes"}

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        if not attrs.get("axes"):
            return None
        axes = {a % len(perm) for a in attrs["axes"]}
        attrs = {**attrs, "axes": tuple(sorted(perm[a] for a in axes))}
        if attrs.get("keepdims", 1):
            return attrs, perm
        rest = [p for i, p in enumerate(perm) if i not in axes]
        return attrs, tuple(sorted(rest).index(p) for p in rest)

    @staticmethod
    def _axes(attrs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
        return axes_of(integers("axes", attrs["axes"]), rank) or (() if attrs["noop"] else tuple(range(rank)))

    def settle(self, layer: Layer, specs: list[Any]) -> Layer:
        """Over no axis nothing is reduced: a function of each element is left."""
        attrs = self.complete(layer.attrs)
        if len([v for v in layer.inputs if v]) != 1 or self._axes(attrs, specs[0].rank) or layer.epilogue:
            return layer
        kind, count = _OVER_NONE.get(attrs["op"], ("identity", 1))
        return layer.with_(kind=kind, inputs=layer.inputs[:1] * count, attrs={})

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_dtype("x", x, _OPS[word("op", attrs["op"], tuple(_OPS))][1])
        axes = self._axes(attrs, x.rank)
        if attrs["noop"] and attrs["op"] == "log_sum":  # over no axis it is a logarithm
            check_dtype("x", x, FLOATS)
        if attrs["keepdims"] not in (0, 1):
            raise ModelError(f"attribute keepdims={attrs['keepdims']!r}: expected 0 or 1")
        shape = [1 if i in axes else d for i, d in enumerate(x.shape) if attrs["keepdims"] or i not in axes]
        return [TensorSpec(x.dtype, tuple(shape))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        given = attrs["axes"]
        if shapes[0] is None or given is None or None in given:
            if shapes[0] is None or not attrs["keepdims"] and not given:
                return None
            return (None,) * (len(shapes[0]) - (0 if attrs["keepdims"] else len(given)))
        axes = self._axes(attrs, len(shapes[0]))
        return tuple(1 if i in axes else d for i, d in enumerate(shapes[0]) if attrs["keepdims"] or i not in axes)

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        attrs, (x,) = self.resolve(attrs, arrays)
        function, axes = _ON_SIZES.get(attrs["op"]), self._axes(attrs, x.ndim)
        if function is None or x.size == 0:
            return None
        for axis in axes:
            x = np.asarray(np.frompyfunc(function, 2, 1).reduce(x, axis, keepdims=True), object)
        return [x if attrs["keepdims"] else x.reshape([d for i, d in enumerate(x.shape) if i not in axes])]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[a] for a in self._axes(attrs, inputs[0].rank))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        if attrs["op"] in _IN_DOUBLE and x.dtype.kind in "iu":
            wide = _OPS[attrs["op"]][0](x.astype(np.float64), self._axes(attrs, x.ndim), bool(attrs["keepdims"]))
            return [cut(wide, x.dtype)]
        y = _OPS[attrs["op"]][0](widen(x), self._axes(attrs, x.ndim), bool(attrs["keepdims"]))
        return [as_type(y, x.dtype)]
