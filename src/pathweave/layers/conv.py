"""Convolutions: conv2, depthwise_conv2, conv_transpose2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net import memory
from ..net.conditions import divides, equal
from ..net.net import TensorSpec
from . import Outline
from ._common import (
    FLOATS,
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
from .dense import Product

_GEOMETRY = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1)}
_COLUMN_BYTES = 16 << 20  # unfolded input held at once


def _geometry(attrs: Mapping[str, Any]) -> Any:
    return (integers("stride", attrs["stride"], 2, 1), integers("pad", attrs["pad"], 4, 0),
            integers("dilation", attrs["dilation"], 2, 1))


def _check(x: TensorSpec, w: TensorSpec, b: TensorSpec | None, out_channels: int) -> None:
    check_rank("x", x, 4)
    check_rank("w", w, 4)
    check_dtype("x", x, FLOATS)
    check_same_dtype(x, w, b)
    check_shape("b", b, (out_channels,))
    if is_empty(w.dims):
        raise ShapeError(f"w is {w}: expected no empty dimension")


def _padded(x: np.ndarray, pad: Sequence[int]) -> np.ndarray:
    top, left, bottom, right = pad
    rows, columns = x.shape[2] + top + bottom, x.shape[3] + left + right
    memory.require(x.shape[0] * x.shape[1] * rows * columns * x.itemsize, "the padded input", "give a smaller pad")
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(pad) else x


def _spatial(shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int],
             dilation: Sequence[int]) -> tuple[int, ...]:
    return tuple(windows(shape[2 + i], kernel[i], stride[i], (pad[i], pad[i + 2]), dilation[i]) for i in (0, 1))


def _taps(x: np.ndarray, kernel: Sequence[int], out: Sequence[int], stride: Sequence[int],
          dilation: Sequence[int]) -> np.ndarray:
    """View [N,C,kh,kw,OH,OW] of padded x: element [.., i, j, y, x] is what tap (i, j) sees at output (y, x)."""
    n, c, h, w = x.strides
    return np.lib.stride_tricks.as_strided(
        x, (*x.shape[:2], *kernel, *out),
        (n, c, h * dilation[0], w * dilation[1], h * stride[0], w * stride[1]), writeable=False)


def convolve(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Sequence[int], pad: Sequence[int],
             dilation: Sequence[int], groups: int) -> np.ndarray:
    """2-D cross-correlation of x [N,C,H,W] with w [O,C/groups,kh,kw]: unfolded input times matrix, rows in chunks."""
    out = _spatial(x.shape, w.shape[2:], stride, pad, dilation)
    taps = _taps(_padded(x, pad), w.shape[2:], out, stride, dilation)
    y = (_per_channel if w.shape[1] == 1 and groups > 1 else _unfolded)(taps, w, groups)
    return y if b is None else y + b.reshape(-1, 1, 1)


def _per_channel(taps: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    n, c, kh, kw, oh, ow = taps.shape
    w = w.reshape(groups, -1, kh, kw, 1, 1)
    y = np.zeros((n, groups, w.shape[1], oh, ow), np.result_type(taps, w))
    for i in range(kh):
        for j in range(kw):
            y += taps[:, :, None, i, j] * w[:, :, i, j]
    return y.reshape(n, y.shape[1] * y.shape[2], oh, ow)


def _unfolded(taps: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    n, c, kh, kw, oh, ow = taps.shape
    length = c // groups * kh * kw
    matrix = w.reshape(groups, -1, length)
    y = np.empty((n, groups, matrix.shape[1], oh, ow), np.result_type(taps, w))
    rows = max(1, min(oh, _COLUMN_BYTES // max(1, c * kh * kw * ow * taps.itemsize)))
    for image in range(n):
        for top in range(0, oh, rows):
            part = taps[image, ..., top:top + rows, :]
            columns = part.reshape(groups, length, part.shape[-2] * ow)
            y[image, :, :, top:top + rows] = (matrix @ columns).reshape(groups, matrix.shape[1], part.shape[-2], ow)
    return y.reshape(n, y.shape[1] * y.shape[2], oh, ow)


def _groups(attrs: Mapping[str, Any], w: np.ndarray) -> int:
    return attrs.get("groups", 1)


def _channels_outline(shapes: list[Any], channels: int | None) -> Outline:
    """An image of unknown size with these channels."""
    batch = shapes[0][0] if shapes[0] else None
    return (batch, channels, None, None)


class Convolution(Product):
    """Common part of those that see all of one kernel's weights in every output element."""

    epilogue = ("add", "act")
    padding = 0.0
    space = 2

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return _channels_outline(shapes, shapes[1][0] if shapes[1] else None)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return super().effort(attrs, inputs, outputs) + padded_elements(inputs[0], attrs["pad"])

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[1].shape[1:])


class Conv2(Convolution):
    """2-D convolution: x [N,C,H,W], w [O,C/groups,kh,kw], b? [O] -> [N,O,OH,OW]. Source: ONNX Conv."""

    name = "conv2"
    attributes = {**_GEOMETRY, "groups": 1}
    of_integers = "conv_integer"
    weights = 1
    linear = Linear(4, groups=_groups)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        (groups,) = integers("groups", attrs["groups"], 1, 1)
        _check(x, w, b, w.shape[0])
        if not equal(x.shape[1], w.shape[1] * groups) or not divides(groups, w.shape[0]):
            raise ShapeError(f"x is {x}, w is {w}, groups={groups}: expected w of shape [O, C/groups, kh, kw] "
                             "with O a multiple of groups")
        return [TensorSpec(x.dtype, (x.shape[0], w.shape[0], *_spatial(x.shape, w.shape[2:], stride, pad, dilation)))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        y = convolve(widen(x), widen(w), widen(b), stride, pad, dilation, int(attrs["groups"]))
        return [as_type(y, x.dtype)]


class DepthwiseConv2(Convolution):
    """One filter per channel: x [N,C,H,W], w [C,1,kh,kw], b? [C] -> [N,C,OH,OW]. Source: ONNX Conv, group = C."""

    name = "depthwise_conv2"
    attributes = dict(_GEOMETRY)
    linear = Linear(4, groups=lambda attrs, w: w.shape[0])

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        _check(x, w, b, w.shape[0])
        check_shape("w", w, (x.shape[1], 1, *w.shape[2:]))
        return [TensorSpec(x.dtype, (*x.shape[:2], *_spatial(x.shape, w.shape[2:], stride, pad, dilation)))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        y = convolve(widen(x), widen(w), widen(b), stride, pad, dilation, x.shape[1])
        return [as_type(y, x.dtype)]


class Transposed(Product):
    """What transposed convolutions share: w [C,O/groups,...]."""

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[1].shape) // (inputs[1].shape[1] * int(attrs["groups"]))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        """Every input element meets each weight of its group's outputs once; a bias counts as in the others."""
        bias = outputs[0].elements if len(inputs) > 2 and inputs[2] is not None else 0
        return 2 * inputs[0].elements * math.prod(inputs[1].shape[1:]) + bias


class ConvTranspose2(Transposed):
    """Transposed convolution: x [N,C,H,W], w [C,O/groups,kh,kw], b? [O] -> [N,O,OH,OW]. Source: ONNX ConvTranspose.

    OH = stride (H - 1) + output_pad + dilation (kh - 1) + 1 - top - bottom, OW alike.
    """

    name = "conv_transpose2"
    epilogue = ("act",)
    attributes = {**_GEOMETRY, "groups": 1, "output_pad": (0, 0)}
    linear = Linear(4, outputs=1, groups=_groups, whole=False)
    space = 2

    @staticmethod
    def _full(x_shape: Sequence[int], w_shape: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
              output_pad: Sequence[int]) -> Any:
        return tuple(stride[i] * (x_shape[2 + i] - 1) + dilation[i] * (w_shape[2 + i] - 1) + 1 + output_pad[i]
                     for i in (0, 1))

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, b = take(inputs, 2, 3)
        stride, pad, dilation = _geometry(attrs)
        (groups,) = integers("groups", attrs["groups"], 1, 1)
        output_pad = integers("output_pad", attrs["output_pad"], 2, 0)
        channels = w.shape[1] * groups if w.rank == 4 else 0
        _check(x, w, b, channels)
        if not equal(x.shape[1], w.shape[0]) or not divides(groups, w.shape[0]):
            raise ShapeError(f"x is {x}, w is {w}, groups={groups}: expected w of shape [C, O/groups, kh, kw] "
                             "with C a multiple of groups")
        if any(p >= max(s, d) for p, s, d in zip(output_pad, stride, dilation)):
            raise ShapeError(f"output_pad={output_pad}: expected less than the stride or the dilation")
        height, width = self._full(x.shape, w.shape, stride, dilation, output_pad)
        out = (height - pad[0] - pad[2], width - pad[1] - pad[3])
        if is_empty(out):
            raise ShapeError(f"pad={pad} leaves nothing of {height} x {width}")
        return [TensorSpec(x.dtype, (x.shape[0], channels, *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        channels = shapes[1][1] if shapes[1] else None
        return _channels_outline(shapes, channels and channels * attrs["groups"])

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return super().effort(attrs, inputs, outputs) + padded_elements(outputs[0], attrs["pad"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, b = take(inputs, 2, 3)
        dtype = x.dtype
        x, w, b = widen(x, w, b)
        stride, pad, dilation = _geometry(attrs)
        groups, output_pad = int(attrs["groups"]), integers("output_pad", attrs["output_pad"], 2, 0)
        n, c, h, wide = x.shape
        kh, kw = w.shape[2:]
        full = self._full(x.shape, w.shape, stride, dilation, output_pad)
        products = n * w.shape[1] * groups * (kh * kw * h * wide + math.prod(full))
        memory.require(products * x.itemsize, "the products of a transposed convolution", "give a smaller input")
        matrix = w.reshape(groups, c // groups, -1).transpose(0, 2, 1)
        product = (matrix @ x.reshape(n, groups, c // groups, h * wide)).reshape(n, w.shape[1] * groups, kh, kw, h, wide)
        y = np.zeros((n, product.shape[1], *full), product.dtype)
        for i in range(kh):
            for j in range(kw):
                top, left = i * dilation[0], j * dilation[1]
                y[:, :, top:top + stride[0] * (h - 1) + 1:stride[0],
                  left:left + stride[1] * (wide - 1) + 1:stride[1]] += product[:, :, i, j]
        y = y[:, :, pad[0]:full[0] - pad[2], pad[1]:full[1] - pad[3]]
        return [as_type(y if b is None else y + b.reshape(-1, 1, 1), dtype)]
