"""Determinants of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net.conditions import equal
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import FLOATS, as_type, check_dtype, take, widen


class Det(LayerKind):
    """Determinant of each matrix x[..., n, n]; that of a matrix without elements is 1. Source: ONNX Det."""

    name = "det"
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        if x.rank < 2 or not equal(x.dims[-1], x.dims[-2]):
            raise ShapeError(f"x is {x}: expected square matrices along the last two axes")
        return [TensorSpec(x.dtype, x.shape[:-2])]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return shapes[0] and shapes[0][:-2]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return max(1, inputs[0].shape[-1])

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements * max(1, inputs[0].shape[-1])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [as_type(np.linalg.det(widen(x)), x.dtype)]
