"""Pools that say where they found an element, and the way back: max_pool_indices, max_unpool. Any number of axes of space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import at_least
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    NUMBERS,
    STEP_EFFORT,
    ValueKind,
    check_dtype,
    check_rank,
    integers,
    is_empty,
    padded_elements,
    same_shape,
    take,
    windows,
)


def _over(x: TensorSpec) -> int:
    """How many axes of space a value has. Raises ShapeError where it has none."""
    if x.rank < 3:
        raise ShapeError(f"x is {x}: expected [N, C, ...] with at least one axis of space")
    return x.rank - 2


class MaxPoolIndices(LayerKind):
    """Largest element per window, and where it lies: x [N,C,*S] -> y [N,C,*O], indices i64 [N,C,*O].

    An index counts the elements of the whole x, row by row; with column_major=1 the first axis of space is the innermost.
    The first of equal elements is taken, NaN before all others; -1 where a window holds nothing but padding. Source: ONNX
    MaxPool.
    """

    name = "max_pool_indices"
    space = -1
    exact = True
    attributes = {"kernel": None, "stride": None, "pad": None, "dilation": None, "ceil": 0, "column_major": 0}

    def _geometry(self, attrs: Mapping[str, Any], space: int) -> Any:
        return (integers("kernel", attrs["kernel"], space, 1), integers("stride", attrs["stride"], space, 1),
                integers("pad", attrs["pad"], 2 * space, 0), integers("dilation", attrs["dilation"], space, 1))

    def _counts(self, attrs: Mapping[str, Any], shape: Sequence[Any]) -> list[Any]:
        space = len(shape) - 2
        kernel, stride, pad, dilation = self._geometry(attrs, space)
        return [windows(shape[2 + i], kernel[i], stride[i], (pad[i], pad[i + space]), dilation[i], bool(attrs["ceil"]))
                for i in range(space)]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, NUMBERS)
        space = _over(x)
        kernel, _, pad, dilation = self._geometry(attrs, space)
        for i in range(space):
            if max(pad[i], pad[i + space]) > (kernel[i] - 1) * dilation[i]:
                raise ShapeError(f"pad={pad} with kernel={kernel}: a window would hold nothing but padding")
        out = (*x.shape[:2], *self._counts(attrs, x.shape))
        return [TensorSpec(x.dtype, out), TensorSpec("i64", out)]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        if not shapes[0]:
            return (None,) * (2 + len(attrs["kernel"])) if isinstance(attrs["kernel"], tuple) else None
        return (*shapes[0][:2], *[None] * (len(shapes[0]) - 2))

    def _taps(self, attrs: Mapping[str, Any]) -> int:
        return math.prod(integers("kernel", attrs["kernel"], None, 1))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return outputs[0].elements * self._taps(attrs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        visits = self._taps(attrs) * (STEP_EFFORT + 8 * outputs[0].elements)
        return super().effort(attrs, inputs, outputs) + visits + padded_elements(inputs[0], attrs["pad"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        space = x.ndim - 2
        kernel, stride, pad, dilation = self._geometry(attrs, space)
        out = self._counts(attrs, x.shape)
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        y = np.full((*x.shape[:2], *out), least, x.dtype)
        found = np.full(y.shape, -1, np.int64)
        order = range(space) if not attrs["column_major"] else range(space - 1, -1, -1)
        step = [math.prod(x.shape[2 + j] for j in order if (j > i if not attrs["column_major"] else j < i))
                for i in range(space)]
        planes = np.arange(math.prod(x.shape[:2]), dtype=np.int64).reshape(*x.shape[:2], *[1] * space) * \
            math.prod(x.shape[2:])
        for tap in np.ndindex(*kernel):
            places = [np.arange(n) * s - p + t * d for n, s, p, t, d in zip(out, stride, pad, tap, dilation)]
            inside = [np.flatnonzero((at >= 0) & (at < n)) for at, n in zip(places, x.shape[2:])]
            if min(map(len, inside), default=0) == 0:
                continue
            into = (slice(None), slice(None), *(slice(k[0], k[-1] + 1) for k in inside))
            at = [p[k] for p, k in zip(places, inside)]
            read = (slice(None), slice(None), *np.ix_(*at))
            seen = x[read]
            index = planes + sum(a.reshape([-1 if j == i else 1 for j in range(space)]) * step[i] for i, a in enumerate(at))
            old = y[into]
            better = (seen > old) | (found[into] < 0)
            if x.dtype.kind == "f":
                better |= np.isnan(seen) & ~np.isnan(old)
                better &= ~np.isnan(old) | (found[into] < 0)
            y[into] = np.where(better, seen, old)
            found[into] = np.where(better, index, found[into])
        return [y, found]


class MaxUnpool(ValueKind):
    """Elements put where a pool found them, zeros elsewhere: x, indices i64 [N,C,*S] -> [N,C,*O].

    O = stride (S - 1) + kernel - pad, or the sizes in `shape` (input 2), the whole output's. Indices count the elements of
    the output; of equal ones the last counts. Raises ModelError for one that lies outside. Source: ONNX MaxUnpool.
    """

    name = "max_unpool"
    space = -1
    exact = True
    per_element = 0
    moves = slice(1)
    attributes = {"kernel": None, "stride": None, "pad": None, "shape": ()}
    value_inputs = {2: "shape"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, indices = take(self.plain(inputs), 2)
        check_dtype("x", x, NUMBERS | {"bool"})
        check_dtype("indices", indices, frozenset(("i64",)))
        space = _over(x)
        check_rank("indices", indices, x.rank)
        if not same_shape(x.dims, indices.dims):
            raise ShapeError(f"indices is {indices}: expected the shape of x, {x}")
        kernel, stride = integers("kernel", attrs["kernel"], space, 1), integers("stride", attrs["stride"], space, 1)
        pad = integers("pad", attrs["pad"], 2 * space, 0)
        out: Any = tuple((x.shape[2 + i] - 1) * stride[i] + kernel[i] - pad[i] - pad[i + space] for i in range(space))
        if attrs["shape"]:
            shape = integers("shape", attrs["shape"], x.rank, 0)
            if not same_shape(shape[:2], x.shape[:2]):
                raise ShapeError(f"shape={shape}: expected it to begin with those of batch and channels of {x}")
            out = shape[2:]
        elif is_empty(out):
            raise ShapeError(f"x is {x}: kernel, stride and pad leave nothing")
        if not all(at_least(d, 0) for d in out):
            raise ShapeError(f"the output would be {list(out)}")
        return [TensorSpec(x.dtype, (*x.shape[:2], *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (*shapes[0][:2], *[None] * (len(shapes[0]) - 2)) if shapes[0] else None

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[TensorSpec | None],
                 constants: list[Any]) -> tuple[int, int] | None:
        if position != 1:
            return None
        try:
            (y,) = self.infer(attrs, inputs)
        except ModelError:  # inputs that do not fit have no range
            return None
        return (0, y.elements - 1) if y.bound else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x, indices) = self.resolve(attrs, inputs)
        (spec,) = self.infer(attrs, [TensorSpec("f32", x.shape), TensorSpec("i64", indices.shape)])
        if indices.size and not (indices.min() >= 0 and indices.max() < spec.elements):
            raise ModelError(f"max_unpool: indices from {indices.min()} to {indices.max()}, expected 0 to {spec.elements - 1}")
        y = np.zeros(spec.elements, x.dtype)
        y[indices.reshape(-1)] = x.reshape(-1)
        return [y.reshape(spec.sizes)]
