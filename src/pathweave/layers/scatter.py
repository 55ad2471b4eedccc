"""Layers that write elements into a copy of a value: scatter_elements, scatter_nd, tensor_scatter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import at_least, equal
from ..net.net import TensorSpec
from . import LayerKind
from ._common import axis_of, check_dtype, check_same_dtype, check_shape, same_outline, take, widen, word

#: What becomes of an element and of the one that is written to its place.
REDUCTIONS = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class _Scatter(LayerKind):
    """`reduction`: none (the last one stays), add, mul, max or min (NaN stays), one after another in the order of the indices.
    Integers wrap; add and max of bool are or, mul and min are and. f16 is computed in f32 and rounded at the end."""

    outline = same_outline

    @staticmethod
    def _combine(attrs: Mapping[str, Any], y: np.ndarray, where: tuple[Any, ...], updates: np.ndarray) -> list[Any]:
        combine = REDUCTIONS[word("reduction", attrs["reduction"], tuple(REDUCTIONS))]
        wide = np.array(widen(y))
        with np.errstate(all="ignore"):
            if combine is None:
                wide[where] = updates
            else:
                combine.at(wide, where, updates)
        return [wide.astype(y.dtype, copy=False)]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 0 if attrs["reduction"] == "none" else inputs[2].elements

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * inputs[0].elements + (4 + 2 * inputs[0].rank) * inputs[2].elements


class ScatterElements(_Scatter):
    """data with y[indices[i][j]][j] = updates[i][j] for axis 0; negative indices count from the end. The indices reach no
    further than data along the other axes. Source: ONNX ScatterElements, Scatter."""

    name = "scatter_elements"
    attributes = {"axis": 0, "reduction": "none"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        data, indices, updates = take(inputs, 3)
        check_dtype("indices", indices, frozenset(("i32", "i64")))
        check_same_dtype(data, updates)
        word("reduction", attrs["reduction"], tuple(REDUCTIONS))
        axis = axis_of(attrs["axis"], data.rank)
        if indices.rank != data.rank or not all(at_least(d, i) for a, (d, i) in enumerate(zip(data.dims, indices.dims))
                                                if a != axis):
            raise ShapeError(f"indices is {indices}: expected the rank of data, {data}, and no more along the axes but {axis}")
        check_shape("updates", updates, indices.dims)
        return [data]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (0, inputs[0].shape[axis_of(attrs["axis"], inputs[0].rank)] - 1) if position == 1 else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        data, indices, updates = take(inputs, 3)
        axis = axis_of(attrs["axis"], data.ndim)
        _check_inside("scatter_elements", indices, axis, data.shape[axis])
        where = list(np.indices(indices.shape, sparse=True))
        where[axis] = indices
        return self._combine(attrs, data, tuple(where), updates)


class ScatterNd(_Scatter):
    """data with slices of updates at index vectors, the last axis of the indices. Negative indices count from the end.
    Source: ONNX ScatterND."""

    name = "scatter_nd"
    attributes = {"reduction": "none"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        data, indices, updates = take(inputs, 3)
        check_dtype("indices", indices, frozenset(("i64",)))
        check_same_dtype(data, updates)
        word("reduction", attrs["reduction"], tuple(REDUCTIONS))
        depth = indices.dims[-1] if indices.rank else 0
        if not isinstance(depth, int) or not 1 <= depth <= data.rank:
            raise ShapeError(f"indices is {indices} for data {data}: expected vectors of 1 to {data.rank} numbers")
        check_shape("updates", updates, (*indices.dims[:-1], *data.dims[depth:]))
        return [data]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        if position != 1 or not inputs[1].rank:
            return None
        return 0, min(inputs[0].shape[:inputs[1].shape[-1]], default=1) - 1

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        data, indices, updates = take(inputs, 3)
        for k in range(indices.shape[-1]):
            _check_inside("scatter_nd", indices[..., k], k, data.shape[k])
        return self._combine(attrs, data, tuple(indices[..., k] for k in range(indices.shape[-1])), updates)


class TensorScatter(LayerKind):
    """cache [B, ..., length, ...] with the update [B, ..., n, ...] written along `axis` from `write_indices` [B] on, 0 where
    they are absent. mode: linear, in which the update must fit, or circular, in which it goes on at the beginning.

    Source: ONNX TensorScatter.
    """

    name = "tensor_scatter"
    exact = True
    per_element = 0
    attributes = {"axis": -2, "mode": "linear"}
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        cache, update, starts = take(inputs, 2, 3)
        check_same_dtype(cache, update)
        word("mode", attrs["mode"], ("linear", "circular"))
        axis = axis_of(attrs["axis"], cache.rank)
        if axis == 0:
            raise ShapeError("axis 0 is the batch: expected another one")
        alike = update.rank == cache.rank and all(equal(a, b) for i, (a, b) in enumerate(zip(cache.dims, update.dims))
                                                  if i != axis)
        if not alike or not at_least(cache.dims[axis], update.dims[axis]):
            raise ShapeError(f"update is {update}: expected the shape of the cache, {cache}, and no more along axis {axis}")
        if starts is not None:
            check_dtype("write_indices", starts, frozenset(("i64",)))
            check_shape("write_indices", starts, cache.dims[:1])
        return [cache]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        axis = axis_of(attrs["axis"], inputs[0].rank)
        return (0, max(0, inputs[0].shape[axis] - inputs[1].shape[axis])) if position == 2 else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        cache, update, starts = take(inputs, 2, 3)
        axis = axis_of(attrs["axis"], cache.ndim)
        length, count = cache.shape[axis], update.shape[axis]
        starts = np.zeros(cache.shape[0], np.int64) if starts is None else starts
        at = starts[:, None] + np.arange(count)
        if attrs["mode"] == "circular":
            at = at % length if length else at
        elif at.size and not 0 <= at.min() <= at.max() < length:
            raise ModelError(f"tensor_scatter: {count} from {starts.min()} to {starts.max()} on leave axis {axis} of length "
                             f"{length}; expected a mode circular, or less")
        y = np.moveaxis(cache.copy(), axis, 1)
        y[np.arange(cache.shape[0])[:, None], at] = np.moveaxis(update, axis, 1)
        return [np.ascontiguousarray(np.moveaxis(y, 1, axis))]


def _check_inside(kind: str, indices: np.ndarray, axis: int, length: int) -> None:
    least, most = indices.min(initial=0), indices.max(initial=0)
    if indices.size and not -length <= least <= most < length:
        raise ModelError(f"{kind}: indices from {least} to {most} leave axis {axis} of length {length}")
