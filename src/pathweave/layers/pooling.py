"""Pooling over windows and over whole images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net.net import TensorSpec
from ..net.roles import Roles, image_roles
from . import LayerKind, Outline
from ._common import (
    FLOATS,
    NUMBERS,
    as_type,
    check_dtype,
    check_rank,
    integers,
    is_empty,
    padded_elements,
    take,
    widen,
    windows,
)

_EVERY_TAP = 4096  # of a kernel with more, those that see nothing but padding are left out first


class _Window(LayerKind):
    """Common part: the window's geometry and the shape rule. `axes`: of space, over which the window goes."""

    axes = 2
    attributes = {"kernel": None, "stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "ceil": 0}
    accepts = FLOATS
    padding = 0.0
    space = 2

    def takes_padding(self, attrs: Mapping[str, Any], pad: tuple[int, ...]) -> bool:
        """Where no window would hold nothing else; rounding up looks at the end of the padded input."""
        reach = [(k - 1) * d for k, d in zip(attrs["kernel"], attrs.get("dilation", (1,) * self.axes))]
        return not attrs.get("ceil", 0) and all(p <= reach[i % self.axes] for i, p in enumerate(pad))

    def _geometry(self, attrs: Mapping[str, Any]) -> Any:
        kernel = integers("kernel", attrs["kernel"], self.axes, 1)
        stride = integers("stride", attrs["stride"], self.axes, 1)
        pad = integers("pad", attrs["pad"], 2 * self.axes, 0)
        return kernel, stride, pad, integers("dilation", attrs["dilation"], self.axes, 1)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_rank("x", x, 2 + self.axes)
        check_dtype("x", x, self.accepts)
        kernel, stride, pad, dilation = self._geometry(attrs)
        for i in range(self.axes):
            if max(pad[i], pad[i + self.axes]) > (kernel[i] - 1) * dilation[i]:
                raise ShapeError(f"pad={pad} with kernel={kernel}: a window would hold nothing but padding")
        out = (windows(x.shape[2 + i], kernel[i], stride[i], (pad[i], pad[i + self.axes]), dilation[i], bool(attrs["ceil"]))
               for i in range(self.axes))
        return [TensorSpec(x.dtype, (*x.shape[:2], *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (*(shapes[0][:2] if shapes[0] else (None, None)), *[None] * self.axes)

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(integers("kernel", attrs["kernel"], self.axes, 1))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return outputs[0].elements * self.terms(attrs, inputs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return super().effort(attrs, inputs, outputs) + 2 * padded_elements(inputs[0], self._geometry(attrs)[2])

    def _pool(self, x: np.ndarray, attrs: Mapping[str, Any], fill: float, combine: Callable[..., Any]) -> np.ndarray:
        """Fold x over its windows, along one axis after the other: `combine` is associative, `fill` its neutral value.

        Padding is skipped, not made: it takes neither time nor memory, however much of it there is.
        """
        kernel, stride, pad, dilation = self._geometry(attrs)
        for i in range(self.axes):
            axis, length = 2 + i, x.shape[2 + i]
            count = windows(length, kernel[i], stride[i], (pad[i], pad[i + self.axes]), dilation[i], bool(attrs["ceil"]))
            y = np.full((*x.shape[:axis], count, *x.shape[axis + 1:]), fill, x.dtype)
            for k in _taps_inside(length, count, kernel[i], stride[i], pad[i], dilation[i]):
                start = k * dilation[i] - pad[i]  # of the first window's tap
                first = -(min(0, start) // stride[i])
                last = min(count, (length - 1 - start) // stride[i] + 1)
                if first < last:
                    out = y[(slice(None),) * axis + (slice(first, last),)]
                    begin, end = start + first * stride[i], start + (last - 1) * stride[i] + 1
                    combine(out, x[(slice(None),) * axis + (slice(begin, end, stride[i]),)], out=out)
            x = y
        return x


def _taps_inside(length: int, count: int, kernel: int, stride: int, pad: int, dilation: int) -> Iterable[int]:
    """The taps of a window along one axis that see the image for any output, in order; none of a huge kernel's others."""
    if kernel <= _EVERY_TAP:
        return range(kernel)
    found: set[int] = set()
    for o in range(count):
        start = o * stride - pad
        found.update(range(max(0, -(start // dilation)), min(kernel, (length - 1 - start) // dilation + 1)))
    return sorted(found)


class MaxPool2(_Window):
    """Largest element per window; padding never wins: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX MaxPool."""

    name = "max_pool2"
    padding = -math.inf
    whole_image = "global_max_pool"
    moves = slice(1)
    exact = True
    accepts = NUMBERS

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return True

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        fill = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return [self._pool(x, attrs, fill, np.maximum)]


class AveragePool2(_Window):
    """Mean per window: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX AveragePool.

    count_pad=0 divides by the elements inside the image, 1 by those inside the padded image.
    """

    name = "average_pool2"
    whole_image = "global_average_pool"
    attributes = {**_Window.attributes, "count_pad": 0}

    def takes_padding(self, attrs: Mapping[str, Any], pad: tuple[int, ...]) -> bool:
        return bool(attrs.get("count_pad", 0)) and super().takes_padding(attrs, pad)

    def _counts(self, length: int, attrs: Mapping[str, Any], i: int) -> np.ndarray:
        kernel, stride, pad, dilation = (v[i] for v in self._geometry(attrs))
        end = self._geometry(attrs)[2][i + self.axes]
        count = windows(length, kernel, stride, (pad, end), dilation, bool(attrs["ceil"]))
        start = np.arange(count) * stride - pad
        low, high = (-pad, length + end) if attrs["count_pad"] else (0, length)
        first, last = np.maximum(0, -((start - low) // dilation)), np.minimum(kernel, -((start - high) // dilation))
        return np.maximum(1, last - first)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        wide = widen(x)
        counts = self._counts(x.shape[2], attrs, 0)
        for i in range(1, self.axes):
            counts = np.multiply.outer(counts, self._counts(x.shape[2 + i], attrs, i))
        return [as_type(self._pool(wide, attrs, 0, np.add) / counts.astype(wide.dtype), x.dtype)]


class LpPool2(_Window):
    """p-norm per window: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX LpPool."""

    name = "lp_pool2"
    attributes = {**_Window.attributes, "p": 2}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        integers("p", attrs["p"], 1, 1)
        return super().infer(attrs, inputs)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        p = int(attrs["p"])
        total = self._pool(np.abs(widen(x)) ** p, attrs, 0, np.add)
        return [as_type(total ** (1.0 / p), x.dtype)]


class _Global(LayerKind):
    attributes = {"keepdims": 1}
    accepts = FLOATS
    space = 2

    def roles(self, attrs: Mapping[str, Any], inputs: list[Any]) -> tuple[list[Roles | None], list[Roles | None]]:
        before, after = super().roles(attrs, inputs)
        return before, after if attrs["keepdims"] else [image_roles(0)] if after else []

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_rank("x", x, 4)
        check_dtype("x", x, self.accepts)
        if is_empty(x.shape[2:]):
            raise ShapeError(f"x is {x}: expected an image that is not empty")
        return [TensorSpec(x.dtype, x.shape[:2] + ((1, 1) if attrs["keepdims"] else ()))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (*(shapes[0][:2] if shapes[0] else (None, None)), *((1, 1) if attrs["keepdims"] else ()))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements


class GlobalAveragePool(_Global):
    """Mean over H and W: x [N,C,H,W] -> [N,C,1,1], or [N,C] with keepdims=0. Source: ONNX GlobalAveragePool."""

    name = "global_average_pool"

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[0].shape[2:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [as_type(widen(x).mean((2, 3), keepdims=bool(attrs["keepdims"])), x.dtype)]


class GlobalMaxPool(_Global):
    """Largest element over H and W: x [N,C,H,W] -> [N,C,1,1], or [N,C] with keepdims=0. Source: ONNX GlobalMaxPool."""

    name = "global_max_pool"
    moves = slice(1)
    exact = True
    accepts = NUMBERS

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return True

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [x.max((2, 3), keepdims=bool(attrs["keepdims"]))]
