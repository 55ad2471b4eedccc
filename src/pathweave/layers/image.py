"""Image pipelines: source (an image becomes a tensor), permute, sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError, ModelError, ShapeError
from ..net.conditions import assumed
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import Mover, check_dtype, integers, is_empty, listed, take, word
from .resize import interpolate, positions, taps
from .shaping import permuted, transpose_spec

#: Weights of red, green and blue in luma. Source: ITU-R BT.601, as Pillow and OpenCV use them.
_LUMA = (0.299, 0.587, 0.114)
_CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}


class Source(LayerKind):
    """A uint8 image [H,W], [H,W,1], [H,W,3] (RGB) or [H,W,4] (alpha is dropped) -> f32 [1,C,H,W], values 0 to 255.

    `shape` (1,C,H,W) of the output; `format` rgb, bgr, gray; `resize_mode` bilinear (half-pixel centres) or nearest;
    keep_ar=1 keeps the aspect ratio, centred on `padding_color` (one number, or one per channel of `format`).
    Raises InputError for another array. Source: ONNX Resize (half_pixel, no antialiasing) for the resampling.
    """

    name = "source"
    per_element = 0
    attributes = {"shape": None, "format": "rgb", "resize_mode": "bilinear", "keep_ar": 0, "padding_color": (0,)}

    @staticmethod
    def _shape(attrs: Mapping[str, Any]) -> Any:
        shape = integers("shape", attrs["shape"], 4, 1)
        channels = _CHANNELS[word("format", attrs["format"], tuple(_CHANNELS))]
        if shape[:2] != (1, channels):
            raise ModelError(f"attribute shape={shape}: expected (1, {channels}, H, W) for format {attrs['format']}")
        return shape

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return self._shape(attrs)

    @staticmethod
    def _padding(attrs: Mapping[str, Any], channels: Any) -> Any:
        color = attrs["padding_color"]
        color = tuple(float(v) for v in (color if isinstance(color, (tuple, list)) else (color,)))
        if len(color) not in (1, channels):
            raise ModelError(f"attribute padding_color={color}: expected 1 or {channels} numbers")
        return np.array(color * (channels // len(color)), np.float32)

    @staticmethod
    def _check(shape: Any) -> None:
        channels = shape[2] if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or is_empty(shape) or channels not in (1, 3, 4) and (
                isinstance(channels, int) or not assumed(*((channels, "==", count) for count in (1, 3, 4)))):
            raise ShapeError(f"an image of shape {listed(shape)}: expected [H,W], [H,W,1], [H,W,3] or [H,W,4]")

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (image,) = take(inputs, 1)
        check_dtype("image", image, frozenset(("u8",)))
        self._check(image.shape)
        shape = self._shape(attrs)
        word("resize_mode", attrs["resize_mode"], ("bilinear", "nearest"))
        self._padding(attrs, shape[1])
        return [TensorSpec("f32", shape)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (image,) = take(inputs, 1)
        if image.dtype != np.uint8:
            raise InputError(f"source: an image of element type {image.dtype}: expected uint8")
        self._check(image.shape)
        _, channels, height, width = self._shape(attrs)
        h, w, top, left = height, width, 0, 0
        if attrs["keep_ar"]:
            scale = min(height / image.shape[0], width / image.shape[1])
            h, w = (min(most, max(1, int(n * scale + 0.5))) for n, most in zip(image.shape, (height, width)))
            top, left = (height - h) // 2, (width - w) // 2
        steps = []
        for axis, out in ((0, h), (1, w)):
            length = image.shape[axis]
            if out != length:
                index, weight = taps(positions(out, length, out / length, "half_pixel"), length, attrs["resize_mode"])
                # Of a large image few pixels are looked at: the others need not become floats.
                used, index = np.unique(index, return_inverse=True)
                image = np.take(image, used, axis)
                steps.append((axis, index.reshape(weight.shape), weight))
        x = self._colors(image, attrs["format"])
        for step in steps:
            x = interpolate(x, *step)
        y = np.empty((1, channels, height, width), np.float32)
        y[:] = self._padding(attrs, channels).reshape(-1, 1, 1)
        y[0, :, top:top + h, left:left + w] = x.transpose(2, 0, 1)
        return [y]

    @staticmethod
    def _colors(image: np.ndarray, form: str) -> Any:
        """The image as float32 [H,W,C] in the wanted order of colours."""
        x = image.astype(np.float32)
        x = x[:, :, None] if x.ndim == 2 else x[:, :, :3]
        if form == "gray":
            return x if x.shape[2] == 1 else (x @ np.array(_LUMA, np.float32))[:, :, None]
        x = np.broadcast_to(x, (*x.shape[:2], 3))
        return x[:, :, ::-1] if form == "bgr" else x


class Permute(Mover):
    """Axis i of the output is axis order[i] of x; `perm` is another name of `order`. Source: ONNX Transpose."""

    name = "permute"
    attributes = {"order": (), "perm": ()}

    @staticmethod
    def _order(attrs: Mapping[str, Any]) -> Any:
        if attrs["order"] and attrs["perm"] and attrs["order"] != attrs["perm"]:
            raise ModelError(f"permute: order={attrs['order']} and perm={attrs['perm']}: expected one of them")
        return attrs["order"] or attrs["perm"]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        return [transpose_spec(x, self._order(attrs))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return permuted(shapes, self._order(attrs))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        order = self._order(attrs)
        return [np.ascontiguousarray(x.transpose(order)).reshape([x.shape[i] for i in order])]


class Sink(Mover):
    """y = x: the end of a pipeline, with the `name` that its user reads."""

    name = "sink"
    attributes = {"name": ""}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        return take(inputs, 1)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        return take(inputs, 1)
