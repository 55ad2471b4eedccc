"""Sums and products of all elements up to each along an axis: cumsum, cumprod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..net.dim import Expr
from ..net.net import TensorSpec
from ._common import NUMBERS, ValueKind, as_type, axis_of, check_dtype, check_one, same_outline, take, whole_number


class _Cumulate(ValueKind):
    """Along `axis`; `reverse` begins at its end; `exclusive` leaves out the element itself.

    Integers wrap. Floats are added up in double and rounded once.
    """

    attributes = {"axis": 0, "exclusive": 0, "reverse": 0}
    value_inputs = {1: "axis"}
    reads_values = True
    outline = same_outline
    #: ufunc, and what stands before the first element
    function: Callable[..., Any]
    start = 0

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number(name, array)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, given = take(inputs, 1, 2)
        check_dtype("x", x, NUMBERS)
        if given is not None:
            check_one("axis", given)
        if not isinstance(attrs["axis"], Expr):
            axis_of(attrs["axis"], x.rank)
        return [x]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (0, inputs[0].rank - 1) if position == 1 else None

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        lengths = inputs[0].sizes
        axis = attrs["axis"] if len(inputs) == 1 and isinstance(attrs["axis"], int) else None
        return max(1, lengths[axis_of(axis, len(lengths))] if axis is not None else max(lengths))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, take(inputs, 1, 2)[:len(inputs)])
        axis = axis_of(attrs["axis"], x.ndim)
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        wide = np.flip(wide, axis) if attrs["reverse"] else wide
        if attrs["exclusive"]:
            first = np.full((*wide.shape[:axis], 1, *wide.shape[axis + 1:]), self.start, wide.dtype)
            wide = np.concatenate([first, wide], axis)[(slice(None),) * axis + (slice(0, x.shape[axis]),)]
        with np.errstate(all="ignore"):
            y = self.function(wide, axis, dtype=wide.dtype)
        return [np.ascontiguousarray(as_type(np.flip(y, axis) if attrs["reverse"] else y, x.dtype))]


class CumSum(_Cumulate):
    """Sum of the elements up to each along an axis. Source: ONNX CumSum, numpy.cumsum."""

    name = "cumsum"
    function = staticmethod(np.cumsum)


class CumProd(_Cumulate):
    """Product of the elements up to each along an axis. Source: ONNX CumProd, numpy.cumprod."""

    name = "cumprod"
    function = staticmethod(np.cumprod)
    start = 1
