"""Layers that make a matrix of indices, keep a part of one, or find which elements there are: onehot, trilu, eye_like,
reverse_sequence, unique, non_max_suppression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import equal
from ..net.dim import Expr, highest, unknown
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    NUMBERS,
    Mover,
    ValueKind,
    axis_of,
    check_dtype,
    check_one,
    check_rank,
    check_shape,
    integers,
    one_number,
    same_outline,
    take,
    whole_number,
    word,
)


class OneHot(ValueKind):
    """values[1] at the indices along a new axis of length `depth`, values[0] elsewhere. Negative indices count from the end;
    one outside of -depth to depth - 1 has values[0] everywhere. Indices that are no integers are cut towards 0.

    `axis`: of the output. Source: ONNX OneHot.
    """

    name = "onehot"
    exact = True
    per_element = 0
    finds_sizes = True
    attributes = {"depth": (), "axis": -1}
    value_inputs = {1: "depth"}

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number(name, array)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        return self._infer(attrs, self.plain(inputs), integers("depth", attrs["depth"], 1, 0)[0])

    def infer_open(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        depth = inputs[1] if len(inputs) > 1 else None
        if depth is None:
            return self.infer(attrs, inputs)
        check_dtype("depth", depth, NUMBERS)
        check_one("depth", depth)
        return self._infer(attrs, [inputs[0], *inputs[2:]], unknown())

    @staticmethod
    def _infer(attrs: Mapping[str, Any], inputs: list[Any], depth: int | Expr) -> list[TensorSpec]:
        indices, values = take(inputs, 2)
        check_dtype("indices", indices, NUMBERS)
        check_shape("values", values, (2,))
        axis = axis_of(attrs["axis"], indices.rank + 1)
        return [TensorSpec(values.dtype, (*indices.shape[:axis], depth, *indices.shape[axis:]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        if shapes[0] is None:
            return None
        axis = axis_of(attrs["axis"], len(shapes[0]) + 1)
        return (*shapes[0][:axis], None, *shapes[0][axis:])

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        if position == 1:
            return 1, 16
        return (0, attrs["depth"] - 1) if position == 0 and isinstance(attrs["depth"], int) else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (indices, values) = self.resolve(attrs, inputs)
        (depth,) = integers("depth", attrs["depth"], 1, 0)
        axis = axis_of(attrs["axis"], indices.ndim + 1)
        with np.errstate(all="ignore"):
            at = np.expand_dims(np.trunc(indices) if indices.dtype.kind == "f" else indices, axis)
        classes = np.arange(depth).reshape((-1,) + (1,) * (indices.ndim - axis))
        # u64 beyond i64 compares in floats; what is that large is no class.
        hit = (at == classes) if at.dtype.kind == "u" else (at == classes) | (at == classes - depth)
        return [np.where(hit, values[1], values[0]).astype(values.dtype, copy=False)]


class Trilu(Mover, ValueKind):
    """Matrices with 0 below diagonal k (upper=1) or above it (upper=0). Source: ONNX Trilu, numpy.triu, numpy.tril."""

    name = "trilu"
    attributes = {"k": 0, "upper": 1}
    value_inputs = {1: "k"}
    reads_values = True
    outline = same_outline

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return False  # it puts zeros

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number(name, array)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, given = take(inputs, 1, 2)
        if given is not None:
            check_one("k", given)
        integers("k", attrs["k"], 1)
        if x.rank < 2:
            raise ShapeError(f"x is {x}: expected a rank of 2 or more")
        return [x]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (-1, 1) if position == 1 else None

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        k = int(np.clip(attrs["k"], -x.shape[-2] - 1, x.shape[-1] + 1))
        return [np.asarray(np.triu(x, k) if attrs["upper"] else np.tril(x, k)).astype(x.dtype, copy=False)]


class EyeLike(LayerKind):
    """A matrix of the shape of x with 1 on diagonal `k` and 0 elsewhere. `dtype` "" is that of x. Source: ONNX EyeLike."""

    name = "eye_like"
    of_shapes = True
    exact = True
    per_element = 0
    attributes = {"k": 0, "dtype": ""}
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_rank("x", x, 2)
        integers("k", attrs["k"], 1)
        return [TensorSpec(word("dtype", attrs["dtype"] or x.dtype, sorted(NUMBERS | {"bool", "bf16"})), x.shape)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        rows, columns = x.shape
        dtype = attrs["dtype"] or x.dtype  # a word where a spec stands for x
        dtype = numpy_dtype(dtype) if isinstance(dtype, str) else dtype
        return [np.eye(rows, columns, int(np.clip(attrs["k"], -rows - 1, columns + 1)), dtype=dtype)]


class ReverseSequence(Mover):
    """The first lengths[b] slices of sequence b in reverse order, the others as they are. `batch_axis`, `time_axis`: 0 and 1,
    one each. Source: ONNX ReverseSequence."""

    name = "reverse_sequence"
    attributes = {"batch_axis": 1, "time_axis": 0}
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, lengths = take(inputs, 2)
        check_dtype("lengths", lengths, frozenset(("i64",)))
        if {attrs["batch_axis"], attrs["time_axis"]} != {0, 1} or x.rank < 2:
            raise ShapeError(f"x is {x} with batch_axis={attrs['batch_axis']}, time_axis={attrs['time_axis']}: expected the "
                             f"axes 0 and 1, one each, of a rank of 2 or more")
        check_shape("lengths", lengths, (x.dims[attrs["batch_axis"]],))
        return [x]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (1, inputs[0].shape[attrs["time_axis"]]) if position == 1 else None

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, lengths = take(inputs, 2)
        rows = np.moveaxis(x, attrs["batch_axis"], 0)
        steps = np.arange(rows.shape[1])
        if lengths.size and not 0 <= lengths.min() <= lengths.max() <= rows.shape[1]:
            raise ModelError(f"reverse_sequence: lengths from {lengths.min()} to {lengths.max()}; expected 0 to "
                             f"{rows.shape[1]}")
        at = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        y = rows[np.arange(rows.shape[0])[:, None], at]
        return [np.ascontiguousarray(np.moveaxis(y, 0, attrs["batch_axis"]))]


class Unique(LayerKind):
    """(elements or slices that differ, index of the first of each, which of them each is, how many there are of each); the last
    three i64 [count], [length], [count].

    `axis` as a tuple of one axis, of slices; () for the elements of x as a row. `sorted`: 1 in ascending order (slices as rows
    of numbers, NaN behind all others and equal to itself), 0 in the order in which they first come.

    Source: ONNX Unique, numpy.unique.
    """

    name = "unique"
    late = finds_sizes = True
    exact = True
    attributes = {"axis": (), "sorted": 1}

    @staticmethod
    def _axis(attrs: Mapping[str, Any], rank: int) -> int | None:
        axis = integers("axis", attrs["axis"])
        if len(axis) > 1:
            raise ModelError(f"attribute axis={axis}: expected one axis or ()")
        return axis_of(axis[0], rank) if axis else None

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, NUMBERS | {"bool"})
        axis = self._axis(attrs, x.rank)
        length: int | Expr = 1
        for d in x.dims if axis is None else (x.dims[axis],):
            length = length * d

        def count() -> int | Expr:
            return unknown(0, highest(length))
        y = (count(),) if axis is None else (*x.dims[:axis], count(), *x.dims[axis + 1:])
        return [TensorSpec(x.dtype, y), *(TensorSpec("i64", (n,)) for n in (count(), length, count()))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return (None,) if not attrs["axis"] else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        axis = self._axis(attrs, x.ndim)
        slices = x.reshape(-1, 1) if axis is None else np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
        order = np.lexsort(slices.T[::-1]) if slices.shape[1] and len(slices) else np.arange(len(slices))
        ordered = slices[order]
        same = ordered[1:] == ordered[:-1]
        if x.dtype.kind == "f":
            same |= np.isnan(ordered[1:]) & np.isnan(ordered[:-1])
        begins = np.ones(len(order), bool)
        begins[1:] = ~same.all(axis=1)
        first, group = order[begins], np.empty(len(order), np.int64)
        group[order] = np.cumsum(begins) - 1
        if not attrs["sorted"]:
            ranks = np.empty(len(first), np.int64)
            ranks[np.argsort(first)] = np.arange(len(first))
            first, group = np.sort(first), ranks[group]
        counts = np.bincount(group, minlength=len(first))
        y = x.reshape(-1)[first] if axis is None else np.take(x, first, axis)
        return [y, *(a.astype(np.int64, copy=False) for a in (first, group, counts))]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements * max(1, inputs[0].elements.bit_length())

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements * (16 + 2 * inputs[0].elements.bit_length())


class NonMaxSuppression(ValueKind):
    """(batch, class, box) of the boxes that are kept, i64 [count, 3]: of each class the `max_boxes` with the highest scores
    above `score` that overlap with none kept before by more than `iou`, the share of the area of both that they have in common.

    Inputs: boxes f32 [B, N, 4], scores f32 [B, C, N]; then `max_boxes`, `iou` and `score` as inputs or attributes. A box is two
    corners (y, x, y, x), or with `center_point_box` its middle, width and height (x, y, w, h). score=(): all boxes. The lower
    index comes first among equal scores; a box without a number for a score is never kept. Source: ONNX NonMaxSuppression.
    """

    name = "non_max_suppression"
    late = finds_sizes = True
    exact = True
    attributes = {"max_boxes": 0, "iou": 0.0, "score": (), "center_point_box": 0}
    value_inputs = {2: "max_boxes", 3: "iou", 4: "score"}

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number(name, array) if name == "max_boxes" else one_number(name, array)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        boxes, scores = take(inputs, 2, 5)[:2]
        for what, spec in (("boxes", boxes), ("scores", scores)):
            check_dtype(what, spec, frozenset(("f32", "f64")))
            check_rank(what, spec, 3)
        if not equal(boxes.dims[2], 4) or not equal(boxes.dims[0], scores.dims[0]) or not equal(boxes.dims[1], scores.dims[2]):
            raise ShapeError(f"boxes is {boxes}, scores is {scores}: expected [B, N, 4] and [B, C, N]")
        most = unknown() if len(inputs) > 2 and inputs[2] is not None else integers("max_boxes", attrs["max_boxes"], 1)[0]
        each = min(highest(boxes.dims[1]), max(0, highest(most)))
        return [TensorSpec("i64", (unknown(0, highest(scores.dims[0]) * highest(scores.dims[1]) * each), 3))]

    infer_open = infer  # it goes by the shapes of two inputs alone

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return None, 3

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        return (1, 16) if position == 2 else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (boxes, scores) = self.resolve(attrs, take(inputs, 2, 5))
        # In f32 as everywhere: whether a share is above a limit may depend on how it is rounded.
        boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
        if attrs["center_point_box"]:
            half = boxes[..., 2:] / np.float32(2)
            low, high = boxes[..., :2] - half, boxes[..., :2] + half
        else:
            low, high = np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])
        least = -np.inf if attrs["score"] == () else np.float32(attrs["score"])
        found = [(b, c, i) for b in range(scores.shape[0]) for c in range(scores.shape[1])
                 for i in _kept(low[b], high[b], scores[b, c], least, attrs["score"] != (), np.float32(attrs["iou"]),
                                int(attrs["max_boxes"]))]
        return [np.array(found, np.int64).reshape(-1, 3)]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[1].elements * 16

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[1].elements * (100 + 20 * inputs[0].sizes[1])


def _kept(low: np.ndarray, high: np.ndarray, scores: np.ndarray, least: Any, limited: bool, iou: np.float32,
          most: int) -> list[int]:
    """Indices of the boxes of one class that are kept, in their order."""
    kept: list[int] = []
    candidates = np.flatnonzero(scores > least if limited else scores == scores)
    size = high - low
    area = size[:, 0] * size[:, 1]
    for i in candidates[np.argsort(-scores[candidates], kind="stable")]:
        if len(kept) >= most:
            break
        if kept:
            with np.errstate(all="ignore"):
                common = np.maximum(np.minimum(high[kept], high[i]) - np.maximum(low[kept], low[i]), np.float32(0))
                shared = common[:, 0] * common[:, 1]
                both = area[kept] + area[i] - shared
                if (shared / both > iou)[(shared > 0) & (both > 0)].any():
                    continue
        kept.append(int(i))
    return kept
