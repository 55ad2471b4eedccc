"""Layers that pick elements or make them from shapes: gather, topk, argmax, where, shape, range, constant_of_shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import at_least, equal
from ..net.dim import MOST_SIZE, Expr, ceiling, largest, unknown
from ..net.format import dtype_of, numpy_dtype
from ..net.net import TensorSpec
from ..words import counted
from . import LayerKind, Outline
from ._common import (
    FLOATS,
    NUMBERS,
    Mover,
    ValueKind,
    as_type,
    axis_of,
    broadcast,
    broadcast_outline,
    check_dtype,
    check_same_dtype,
    integers,
    is_empty,
    one_number,
    take,
    whole_number,
    word,
)


class Gather(Mover):
    """Slices of data at `indices` along `axis`; negative indices count from the end. Source: ONNX Gather."""

    name = "gather"
    attributes = {"axis": 0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        data, indices = take(inputs, 2)
        check_dtype("indices", indices, frozenset(("i32", "i64")))
        axis = axis_of(attrs["axis"], data.rank)
        return [TensorSpec(data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1:]))]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        rows = inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)]
        return (0, rows - 1) if position == 1 else None

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        data, indices = shapes
        if data is None or indices is None:
            return None
        axis = axis_of(attrs["axis"], len(data))
        return (*data[:axis], *indices, *data[axis + 1:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        data, indices = take(inputs, 2)
        axis = axis_of(attrs["axis"], data.ndim)
        try:
            return [np.asarray(np.take(data, indices, axis))]
        except IndexError:
            raise ModelError(f"gather: indices from {indices.min()} to {indices.max()} leave axis {axis} "
                             f"of length {data.shape[axis]}") from None


class GatherElements(Mover):
    """Element by element: y[i][j] = data[indices[i][j]][j] for axis 0; the shape is that of the indices, which reach no further
    than data along the other axes. Negative indices count from the end. Source: ONNX GatherElements."""

    name = "gather_elements"
    attributes = {"axis": 0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        data, indices = take(inputs, 2)
        check_dtype("indices", indices, frozenset(("i32", "i64")))
        axis = axis_of(attrs["axis"], data.rank)
        if indices.rank != data.rank or not all(at_least(d, i) for a, (d, i) in enumerate(zip(data.dims, indices.dims))
                                                if a != axis):
            raise ShapeError(f"indices is {indices}: expected the rank of data, {data}, and no more along the axes but {axis}")
        return [TensorSpec(data.dtype, indices.shape)]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return shapes[1]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (0, inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)] - 1) if position == 1 else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        data, indices = take(inputs, 2)
        axis = axis_of(attrs["axis"], data.ndim)
        least, most = indices.min(initial=0), indices.max(initial=0)
        if indices.size and not -data.shape[axis] <= least <= most < data.shape[axis]:
            raise ModelError(f"gather_elements: indices from {least} to {most} leave axis {axis} of length {data.shape[axis]}")
        rows = data[tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(indices.shape))]
        return [np.take_along_axis(rows, indices, axis)]


class GatherNd(Mover):
    """Slices of data at index vectors, the last axis of the indices, behind `batch` axes that both have in common. Negative
    indices count from the end. Source: ONNX GatherND."""

    name = "gather_nd"
    attributes = {"batch": 0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        data, indices = take(inputs, 2)
        check_dtype("indices", indices, frozenset(("i64",)))
        (batch,) = integers("batch", attrs["batch"], 1, 0)
        depth = indices.dims[-1] if indices.rank else 0
        if not isinstance(depth, int) or batch >= min(data.rank, indices.rank) or not 1 <= depth <= data.rank - batch \
                or not all(map(equal, data.dims[:batch], indices.dims[:batch])):
            raise ShapeError(f"indices is {indices} for data {data} with batch={batch}: expected equal sizes along the batch, "
                             f"and vectors of 1 to {data.rank - batch} numbers")
        return [TensorSpec(data.dtype, (*indices.shape[:-1], *data.shape[batch + depth:]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        data, indices = shapes
        if data is None or not indices or indices[-1] is None:
            return None
        return (*indices[:-1], *data[attrs["batch"] + indices[-1]:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        data, indices = take(inputs, 2)
        batch, depth = int(attrs["batch"]), indices.shape[-1]
        common = indices.shape[:batch]
        at = [np.arange(n).reshape((n,) + (1,) * (indices.ndim - 2 - i)) for i, n in enumerate(common)]
        where = tuple(at) + tuple(indices[..., k] for k in range(depth))
        try:
            return [np.asarray(data[where])]
        except IndexError as e:
            raise ModelError(f"gather_nd: {e}") from None


class Where(LayerKind):
    """a where the condition holds, else b; all three broadcast. Source: ONNX Where."""

    name = "where"
    exact = True
    beside = slice(1, 3)
    per_element = 0
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        condition, a, b = take(inputs, 3)
        check_dtype("condition", condition, frozenset(("bool",)))
        check_same_dtype(a, b)
        return [TensorSpec(a.dtype, broadcast(condition, a, b))]

    outline = broadcast_outline

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return None if arrays[0].dtype == object else self.meaning(attrs, arrays)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        return [np.where(*take(inputs, 3))]


class _ArgExtreme(LayerKind):
    attributes = {"axis": 0, "keepdims": 1, "select_last": 0}
    exact = True
    #: function(x, axis, keepdims=)
    function: Callable[..., Any]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, NUMBERS)
        axis = axis_of(attrs["axis"], x.rank)
        if is_empty(x.shape[axis:axis + 1]):
            raise ShapeError(f"x is {x}: axis {axis} is empty")
        return [TensorSpec("i64", (*x.shape[:axis], *([1] if attrs["keepdims"] else []), *x.shape[axis + 1:]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        if shapes[0] is None:
            return None
        axis = axis_of(attrs["axis"], len(shapes[0]))
        return (*shapes[0][:axis], *([1] if attrs["keepdims"] else []), *shapes[0][axis + 1:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        axis, keep = axis_of(attrs["axis"], x.ndim), bool(attrs["keepdims"])
        if attrs["select_last"]:
            y = x.shape[axis] - 1 - self.function(np.flip(x, axis), axis, keepdims=keep)
        else:
            y = self.function(x, axis, keepdims=keep)
        return [as_type(y, np.int64)]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements


class ArgMax(_ArgExtreme):
    """Index of the first (select_last=1: last) largest element along `axis`, i64. Source: ONNX ArgMax."""

    name = "argmax"
    function = staticmethod(np.argmax)


class ArgMin(_ArgExtreme):
    """Index of the first (select_last=1: last) smallest element along `axis`, i64. Source: ONNX ArgMin."""

    name = "argmin"
    function = staticmethod(np.argmin)


class TopK(ValueKind):
    """The k largest (smallest) elements along `axis` and their indices (i64); the lower index wins a tie.

    Always sorted, whatever `sorted` says. Source: ONNX TopK.
    """

    name = "topk"
    finds_sizes = True
    exact = True
    attributes = {"k": (), "axis": -1, "largest": 1, "sorted": 1}
    value_inputs = {1: "k"}

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number(name, array)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_dtype("x", x, NUMBERS)
        (k,) = integers("k", attrs["k"], 1, 0)
        axis = axis_of(attrs["axis"], x.rank)
        if not at_least(x.shape[axis], k):
            raise ShapeError(f"k={k}: axis {axis} of {x} has only {counted(str(x.shape[axis]), 'element')}")
        shape = (*x.shape[:axis], k, *x.shape[axis + 1:])
        return [TensorSpec(x.dtype, shape), TensorSpec("i64", shape)]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        size = inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)]
        return (min(1, size), size) if position == 1 else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        axis = axis_of(attrs["axis"], x.ndim)
        if attrs["largest"]:
            # A stable sort of the reversed axis, read backwards, keeps the lower index first among equals.
            order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
        else:
            order = np.argsort(x, axis, kind="stable")
        (k,) = integers("k", attrs["k"], 1, 0)
        indices = np.take(order, np.arange(k), axis)
        return [np.take_along_axis(x, indices, axis), as_type(indices, np.int64)]


class Shape(LayerKind):
    """Dimensions start to end (not included) of x, i64; negative counts from the end. Source: ONNX Shape."""

    name = "shape"
    of_shapes = True
    exact = True
    per_element = 0
    attributes = {"start": 0, "end": 99}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        return [TensorSpec("i64", (len(x.shape[int(attrs["start"]):int(attrs["end"])]),))]

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return [np.array(inputs[0].shape, object)[int(attrs["start"]):int(attrs["end"])]]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (None,) if shapes[0] is None else (len(shapes[0][int(attrs["start"]):int(attrs["end"])]),)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [np.array(x.shape[int(attrs["start"]):int(attrs["end"])], np.int64)]


class ConstantOfShape(ValueKind):
    """A tensor of `shape` filled with `value`. Source: ONNX ConstantOfShape."""

    name = "constant_of_shape"
    finds_sizes = True
    exact = True
    per_element = 0
    attributes = {"shape": (), "value": 0.0, "dtype": "f32"}
    value_inputs = {0: "shape"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(self.plain(inputs), 0)
        word("dtype", attrs["dtype"], sorted(NUMBERS | {"bool"}))
        return [TensorSpec(attrs["dtype"], integers("shape", attrs["shape"], least=0))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return attrs["shape"]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, _ = self.resolve(attrs, inputs)
        return [np.full(integers("shape", attrs["shape"], least=0), attrs["value"], numpy_dtype(attrs["dtype"]))]


class Range(ValueKind):
    """start, start + delta, ... before limit; the three as numbers, or as scalar inputs of one element type.

    `dtype` of the output; "" is that of the inputs, or i64 for whole numbers and f32 else. Source: ONNX Range.
    """

    name = "range"
    finds_sizes = True
    exact = True
    per_element = 0
    attributes = {"start": (), "limit": (), "delta": (), "dtype": ""}
    value_inputs = {0: "start", 1: "limit", 2: "delta"}

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return one_number(name, array)

    def absorb(self, attrs: Mapping[str, Any], arrays: Sequence[Any]) -> tuple[dict[str, Any], set[int]]:
        out, gone = super().absorb(attrs, arrays)
        if gone and not attrs.get("dtype"):
            out["dtype"] = dtype_of(arrays[min(gone)].dtype)
        return out, gone

    @staticmethod
    def _values(attrs: Mapping[str, Any]) -> Any:
        """(first, step, count, element type)."""
        given = [attrs[k] for k in ("start", "limit", "delta")]
        start, limit, delta = (v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in given)
        if any(isinstance(v, Expr) for v in (start, limit)) and all(isinstance(v, (int, Expr)) for v in (start, limit)) \
                and isinstance(delta, int) and delta:
            dtype = word("dtype", attrs["dtype"] or "i64", sorted(NUMBERS))
            # Bounds of numbers that are not known are those of sizes: beside a number beyond them they say nothing.
            far = any(isinstance(v, int) and abs(v) > MOST_SIZE for v in (start, limit))
            return start, delta, unknown() if far else largest(0, ceiling(limit - start, delta)), dtype
        if any(isinstance(v, (tuple, str)) or not math.isfinite(v) for v in (start, limit, delta)) or delta == 0:
            raise ModelError(f"range: start={start} limit={limit} delta={delta}: expected three numbers, delta not 0")
        whole = all(isinstance(v, int) for v in (start, limit, delta))
        dtype = word("dtype", attrs["dtype"] or ("i64" if whole else "f32"), sorted(NUMBERS))
        return start, delta, max(0, -((start - limit) // delta) if whole else math.ceil((limit - start) / delta)), dtype

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(self.plain(inputs), 0)
        _, _, count, dtype = self._values(attrs)
        return [TensorSpec(dtype, (count,))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (None,)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, _ = self.resolve(attrs, inputs)
        start, delta, count, dtype = self._values(attrs)
        steps = np.arange(count, dtype=np.float64 if dtype in FLOATS else np.int64)
        return [as_type(start + steps * delta, numpy_dtype(dtype))]
