"""Matrix products: dense, matmul."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net.conditions import equal
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    FLOATS,
    NUMBERS,
    as_type,
    broadcast_known,
    broadcast_shapes,
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    take,
    widen,
)
from ._linear import Linear


class Product(LayerKind):
    """A kind that sums products of its first two inputs, and adds the third where there is one."""


    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        bias = len(inputs) > 2 and inputs[2] is not None
        return sum(y.elements for y in outputs) * (2 * self.terms(attrs, inputs) + bias)


class Dense(Product):
    """y = x @ w.T + b: x [...,K], w [N,K], b? [N] -> [...,N]. Source: ONNX Gemm with transB."""

    name = "dense"
    epilogue = ("add", "act")
    attributes = {}
    of_integers = "matmul_integer"
    weights = 1
    linear = Linear(None)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        check_rank("w", w, 2)
        check_dtype("x", x, FLOATS)
        check_same_dtype(x, w, b)
        check_shape("b", b, w.shape[:1])
        if x.rank < 1 or not equal(x.shape[-1], w.shape[1]):
            raise ShapeError(f"x is {x}, w is {w}: expected the last dimension of both to be equal")
        return [TensorSpec(x.dtype, (*x.shape[:-1], w.shape[0]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return shapes[0] and (*shapes[0][:-1], shapes[1][0] if shapes[1] else None)

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[-1]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, b = take(inputs, 2, 3)
        dtype = x.dtype
        x, w, b = widen(x, w, b)
        y = x @ w.T
        return [as_type(y if b is None else y + b, dtype)]


class MatMul(Product):
    """numpy.matmul of a and b, batch dimensions broadcast, rank 1 allowed. Source: ONNX MatMul."""

    name = "matmul"
    attributes = {}
    of_integers = "matmul_integer"

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        a, b = take(inputs, 2)
        check_dtype("a", a, NUMBERS)
        check_same_dtype(a, b)
        if min(a.rank, b.rank) < 1:
            raise ShapeError(f"a is {a}, b is {b}: expected rank 1 or more")
        left = a.shape if a.rank > 1 else (1, *a.shape)
        right = b.shape if b.rank > 1 else (*b.shape, 1)
        if not equal(left[-1], right[-2]):
            raise ShapeError(f"a is {a}, b is {b}: expected the summed dimensions to be equal")
        batch = broadcast_shapes(left[:-2], right[:-2])
        rows = left[-2:-1] if a.rank > 1 else ()
        columns = right[-1:] if b.rank > 1 else ()
        return [TensorSpec(a.dtype, (*batch, *rows, *columns))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        a, b = shapes
        if not a or not b:
            return None
        batch = broadcast_known([a[:-2], b[:-2]])
        assert batch is not None  # the ranks of both are known
        return (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[-1]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        a, b = take(inputs, 2)
        return [as_type(np.matmul(*widen(a, b)), np.result_type(a, b))]
