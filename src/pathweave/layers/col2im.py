"""Overlapping blocks put together to an image: col2im."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError, SizeError
from ..net import memory
from ..net.conditions import divides, equal
from ..net.net import TensorSpec
from ..net.size import MOST_SPAN
from . import Outline
from ._common import NUMBERS, STEP_EFFORT, ValueKind, as_type, check_dtype, check_rank, integers, take, widen, windows


class Col2Im(ValueKind):
    """Blocks [N, C*prod(block), L] added up where they overlap -> [N,C,*image]. Source: ONNX Col2Im.

    L counts the places of a window over the padded image, row by row. The attributes `strides`, `pads`, `dilations` may be (),
    which means 1, 0 and 1 for every axis. Integers wrap.
    """

    name = "col2im"
    attributes = {"image": (), "block": (), "strides": (), "pads": (), "dilations": ()}
    value_inputs = {1: "image", 2: "block"}

    @staticmethod
    def _geometry(attrs: Mapping[str, Any]) -> Any:
        image = integers("image", attrs["image"], None, 1)
        space = len(image)
        if space < 1:
            raise ModelError(f"attribute image={attrs['image']}: expected at least one size")
        return (image, integers("block", attrs["block"], space, 1),
                integers("strides", attrs["strides"] or (1,) * space, space, 1),
                integers("pads", attrs["pads"] or (0,) * 2 * space, 2 * space, 0),
                integers("dilations", attrs["dilations"] or (1,) * space, space, 1))

    @classmethod
    def _counts(cls, attrs: Mapping[str, Any]) -> list[Any]:
        image, block, stride, pad, dilation = cls._geometry(attrs)
        return [windows(d, k, s, (pad[i], pad[i + len(image)]), e)
                for i, (d, k, s, e) in enumerate(zip(image, block, stride, dilation))]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_dtype("x", x, NUMBERS)
        check_rank("x", x, 3)
        image, block, *_ = self._geometry(attrs)
        places: Any = math.prod(self._counts(attrs))
        pads = self._geometry(attrs)[3]
        span = math.prod(d + pads[i] + pads[i + len(image)] for i, d in enumerate(image))
        if isinstance(span, int) and span > MOST_SPAN:
            raise SizeError(f"image={image} pads={pads}: {span:.3g} elements, expected at most {MOST_SPAN:.3g}")
        taps: Any = math.prod(block)
        if not divides(taps, x.shape[1]) or not equal(x.shape[2], places):
            raise ShapeError(f"x is {x}: expected [N, a multiple of {taps}, {places}] for image={image} block={block}")
        return [TensorSpec(x.dtype, (x.shape[0], x.shape[1] // taps, *image))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        image = attrs["image"]
        if not isinstance(image, tuple) or not image:
            return None
        return (shapes[0][0] if shapes[0] else None, None, *image)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        _, block, _, pad, _ = self._geometry(attrs)
        padded = math.prod(d + pad[i] + pad[i + len(block)] for i, d in enumerate(outputs[0].sizes[2:]))
        return super().effort(attrs, inputs, outputs) + math.prod(block) * STEP_EFFORT + \
            math.prod(outputs[0].sizes[:2]) * padded

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(integers("block", attrs["block"], None, 1))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        image, block, stride, pad, dilation = self._geometry(attrs)
        counts, space = self._counts(attrs), len(image)
        n, channels = x.shape[0], x.shape[1] // math.prod(block)
        # Behind the pads lies what the last windows do not reach.
        full = [d + pad[i] + pad[i + space] for i, d in enumerate(image)]
        memory.require(n * channels * math.prod(full) * max(4, x.itemsize), "the padded image", "give a smaller pad")
        wide = widen(x).reshape(n, channels, *block, *counts)
        y = np.zeros((n, channels, *full), wide.dtype)
        for tap in np.ndindex(*block):
            at = tuple(slice(t * d, t * d + (k - 1) * s + 1, s) for t, d, k, s in zip(tap, dilation, counts, stride))
            into, read = (slice(None), slice(None), *at), (slice(None), slice(None), *tap)
            y[into] += wide[read]
        inner = (slice(None), slice(None), *(slice(pad[i], pad[i] + d) for i, d in enumerate(image)))
        return [as_type(y[inner], x.dtype)]
