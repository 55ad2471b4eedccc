"""Windows over three axes of space: conv3, conv_transpose3, max_pool3, average_pool3, lp_pool3.

What they are over two axes stands in conv.py and pooling.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net import memory
from ..net.conditions import divides, equal
from ..net.net import TensorSpec
from . import Outline
from ._common import (
    FLOATS,
    STEP_EFFORT,
    as_type,
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    integers,
    is_empty,
    padded_elements,
    take,
    widen,
    windows,
)
from ._linear import Linear
from .conv import Transposed
from .dense import Product
from .pooling import AveragePool2, LpPool2, MaxPool2

AXES = 3
_GEOMETRY = {"stride": (1,) * AXES, "pad": (0,) * 2 * AXES, "dilation": (1,) * AXES}


def _geometry(attrs: Mapping[str, Any]) -> Any:
    return (integers("stride", attrs["stride"], AXES, 1), integers("pad", attrs["pad"], 2 * AXES, 0),
            integers("dilation", attrs["dilation"], AXES, 1))


def _groups(attrs: Mapping[str, Any], w: np.ndarray) -> int:
    return attrs.get("groups", 1)


def _check(x: TensorSpec, w: TensorSpec, b: TensorSpec | None, out_channels: Any) -> None:
    check_rank("x", x, 2 + AXES)
    check_rank("w", w, 2 + AXES)
    check_dtype("x", x, FLOATS)
    check_same_dtype(x, w, b)
    check_shape("b", b, (out_channels,))
    if is_empty(w.dims):
        raise ShapeError(f"w is {w}: expected no empty dimension")


def _outline(shapes: list[Any], channels: int | None) -> Outline:
    return (shapes[0][0] if shapes[0] else None, channels, *[None] * AXES)


def _taps(kernel: Sequence[int], starts: Sequence[int], steps: Sequence[int], turns: Sequence[int],
          dilation: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Every tap of a kernel with the slices, one per axis of space, of what it meets: `turns` elements `steps` apart."""
    for tap in np.ndindex(*kernel):
        begin = [s + t * d for s, t, d in zip(starts, tap, dilation)]
        yield tap, tuple(slice(b, b + (n - 1) * step + 1, step) for b, n, step in zip(begin, turns, steps))


class _Convolution(Product):
    """Common part of convolutions over three axes."""

    space = AXES

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        taps = math.prod(inputs[1].shape[2:])
        larger = max(inputs[0].elements, outputs[0].elements)
        padded = padded_elements(max(inputs[0], outputs[0], key=lambda s: s.elements), attrs["pad"])
        return super().effort(attrs, inputs, outputs) + padded + taps * (STEP_EFFORT + 2 * larger)


class Conv3(_Convolution):
    """3-D convolution: x [N,C,D,H,W], w [O,C/groups,kd,kh,kw], b? [O] -> [N,O,OD,OH,OW]. Source: ONNX Conv."""

    name = "conv3"
    epilogue = ("add", "act")
    padding = 0.0
    attributes = {**_GEOMETRY, "groups": 1}
    linear = Linear(2 + AXES, groups=_groups)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        (groups,) = integers("groups", attrs["groups"], 1, 1)
        _check(x, w, b, w.shape[0] if w.rank else 0)
        if not equal(x.shape[1], w.shape[1] * groups) or not divides(groups, w.shape[0]):
            raise ShapeError(f"x is {x}, w is {w}, groups={groups}: expected w of shape [O, C/groups, kd, kh, kw] "
                             "with O a multiple of groups")
        out = (windows(x.shape[2 + i], w.shape[2 + i], stride[i], (pad[i], pad[i + AXES]), dilation[i]) for i in range(AXES))
        return [TensorSpec(x.dtype, (x.shape[0], w.shape[0], *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return _outline(shapes, shapes[1][0] if shapes[1] else None)

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[1].shape[1:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        """One product of matrices per tap."""
        x, w, b = take(inputs, 2, 3)
        dtype = x.dtype
        x, w, b = widen(x, w, b)
        stride, pad, dilation = _geometry(attrs)
        groups = int(attrs["groups"])
        out = [windows(x.shape[2 + i], w.shape[2 + i], stride[i], (pad[i], pad[i + AXES]), dilation[i]) for i in range(AXES)]
        padded = [d + pad[i] + pad[i + AXES] for i, d in enumerate(x.shape[2:])]
        memory.require(math.prod((*x.shape[:2], *padded)) * x.itemsize, "the padded input", "give a smaller pad")
        x = np.pad(x, ((0, 0), (0, 0), *((pad[i], pad[i + AXES]) for i in range(AXES)))) if any(pad) else x
        n, c = x.shape[:2]
        matrices = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        y = np.zeros((n, groups, matrices.shape[1], math.prod(out)), np.result_type(x, w))
        for tap, at in _taps(w.shape[2:], (0,) * AXES, stride, out, dilation):
            read, weights = (slice(None), slice(None), *at), (slice(None), slice(None), slice(None), *tap)
            y += matrices[weights] @ x[read].reshape(n, groups, c // groups, -1)
        y = y.reshape(n, w.shape[0], *out)
        return [as_type(y if b is None else y + b.reshape(-1, *[1] * AXES), dtype)]


class ConvTranspose3(Transposed, _Convolution):
    """Transposed convolution: x [N,C,D,H,W], w [C,O/groups,kd,kh,kw], b? [O] -> [N,O,OD,OH,OW].

    OD = stride (D - 1) + output_pad + dilation (kd - 1) + 1 - front - back, the others alike. Source: ONNX ConvTranspose.
    """

    name = "conv_transpose3"
    epilogue = ("act",)
    attributes = {**_GEOMETRY, "groups": 1, "output_pad": (0,) * AXES}
    linear = Linear(2 + AXES, outputs=1, groups=_groups, whole=False)

    @staticmethod
    def _full(x_shape: Sequence[int], w_shape: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
              output_pad: Sequence[int]) -> Any:
        return tuple(stride[i] * (x_shape[2 + i] - 1) + dilation[i] * (w_shape[2 + i] - 1) + 1 + output_pad[i]
                     for i in range(AXES))

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        (groups,) = integers("groups", attrs["groups"], 1, 1)
        output_pad = integers("output_pad", attrs["output_pad"], AXES, 0)
        channels = w.shape[1] * groups if w.rank == 2 + AXES else 0
        _check(x, w, b, channels)
        if not equal(x.shape[1], w.shape[0]) or not divides(groups, w.shape[0]):
            raise ShapeError(f"x is {x}, w is {w}, groups={groups}: expected w of shape [C, O/groups, kd, kh, kw] "
                             "with C a multiple of groups")
        if any(p >= max(s, d) for p, s, d in zip(output_pad, stride, dilation)):
            raise ShapeError(f"output_pad={output_pad}: expected less than the stride or the dilation")
        full = self._full(x.shape, w.shape, stride, dilation, output_pad)
        out = tuple(full[i] - pad[i] - pad[i + AXES] for i in range(AXES))
        if is_empty(out):
            raise ShapeError(f"pad={pad} leaves nothing of {' x '.join(map(str, full))}")
        return [TensorSpec(x.dtype, (x.shape[0], channels, *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        channels = shapes[1][1] if shapes[1] else None
        return _outline(shapes, channels and channels * attrs["groups"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        """One product of matrices per tap, added to what the tap reaches."""
        x, w, b = take(inputs, 2, 3)
        dtype = x.dtype
        x, w, b = widen(x, w, b)
        stride, pad, dilation = _geometry(attrs)
        groups, output_pad = int(attrs["groups"]), integers("output_pad", attrs["output_pad"], AXES, 0)
        n, c = x.shape[:2]
        full = self._full(x.shape, w.shape, stride, dilation, output_pad)
        outputs = w.shape[1] * groups
        memory.require(n * outputs * (math.prod(full) + math.prod(x.shape[2:])) * x.itemsize,
                       "the products of a transposed convolution", "give a smaller input")
        seen = x.reshape(n, groups, c // groups, -1)
        matrices = w.reshape(groups, c // groups, *w.shape[1:]).swapaxes(1, 2)
        y = np.zeros((n, outputs, *full), np.result_type(x, w))
        for tap, at in _taps(w.shape[2:], (0,) * AXES, stride, x.shape[2:], dilation):
            into, weights = (slice(None), slice(None), *at), (slice(None), slice(None), slice(None), *tap)
            y[into] += (matrices[weights] @ seen).reshape(n, outputs, *x.shape[2:])
        inner = (slice(None), slice(None), *(slice(pad[i], full[i] - pad[i + AXES]) for i in range(AXES)))
        y = y[inner]
        return [as_type(y if b is None else y + b.reshape(-1, *[1] * AXES), dtype)]


_WINDOW = {"kernel": None, **_GEOMETRY, "ceil": 0}


class MaxPool3(MaxPool2):
    """Largest element per window; padding never wins: x [N,C,D,H,W] -> [N,C,OD,OH,OW]. Source: ONNX MaxPool."""

    name = "max_pool3"
    axes = space = AXES
    whole_image = ""
    attributes = _WINDOW


class AveragePool3(AveragePool2):
    """Mean per window: x [N,C,D,H,W] -> [N,C,OD,OH,OW]; count_pad as in average_pool2. Source: ONNX AveragePool."""

    name = "average_pool3"
    axes = space = AXES
    whole_image = ""
    attributes = {**_WINDOW, "count_pad": 0}


class LpPool3(LpPool2):
    """p-norm per window: x [N,C,D,H,W] -> [N,C,OD,OH,OW]. Source: ONNX LpPool."""

    name = "lp_pool3"
    axes = space = AXES
    attributes = {**_WINDOW, "p": 2}
