"""Normalised exponentials along one axis: softmax, log_softmax, hardmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..net.net import TensorSpec
from . import LayerKind
from ._common import FLOATS, as_type, axis_of, check_dtype, same_outline, take, widen


class _AlongAxis(LayerKind):
    attributes = {"axis": -1}
    outline = same_outline
    #: function(x, axis)
    function: Callable[..., np.ndarray]

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        return {**attrs, "axis": perm[attrs.get("axis", -1)]}, perm

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        axis_of(attrs["axis"], x.rank)
        return [x]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [x.copy() if x.size == 0 else as_type(self.function(widen(x), int(attrs["axis"])), x.dtype)]


class Softmax(_AlongAxis):
    """e^x / sum e^x along `axis`. Source: ONNX Softmax, opset 13."""

    name = "softmax"

    @staticmethod
    def function(x: np.ndarray, axis: int) -> np.ndarray:
        y = np.exp(x - x.max(axis, keepdims=True))
        return y / y.sum(axis, keepdims=True)


class LogSoftmax(_AlongAxis):
    """x - log sum e^x along `axis`. Source: ONNX LogSoftmax, opset 13."""

    name = "log_softmax"

    @staticmethod
    def function(x: np.ndarray, axis: int) -> np.ndarray:
        y = x - x.max(axis, keepdims=True)
        return y - np.log(np.exp(y).sum(axis, keepdims=True))


class Hardmax(_AlongAxis):
    """1 at the first largest element along `axis`, else 0. Source: ONNX Hardmax, opset 13."""

    name = "hardmax"
    exact = True
    terms = LayerKind.terms

    @staticmethod
    def function(x: np.ndarray, axis: int) -> np.ndarray:
        y = np.zeros_like(x)
        np.put_along_axis(y, np.expand_dims(x.argmax(axis), axis), 1, axis)
        return y
