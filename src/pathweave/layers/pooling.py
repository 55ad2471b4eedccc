"""Pooling over windows and over whole images."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ShapeError
from ..net.net import TensorSpec
from . import LayerKind
from ._common import FLOATS, NUMBERS, as_type, check_dtype, check_rank, integers, padded_elements, take, widen, windows


class _Window(LayerKind):
    """Common part: the window's geometry and the shape rule."""

    attributes = {"kernel": None, "stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "ceil": 0}
    accepts = FLOATS

    def _geometry(self, attrs):
        kernel = integers("kernel", attrs["kernel"], 2, 1)
        stride = integers("stride", attrs["stride"], 2, 1)
        pad = integers("pad", attrs["pad"], 4, 0)
        return kernel, stride, pad, integers("dilation", attrs["dilation"], 2, 1)

    def infer(self, attrs, inputs):
        (x,) = take(inputs, 1)
        check_rank("x", x, 4)
        check_dtype("x", x, self.accepts)
        kernel, stride, pad, dilation = self._geometry(attrs)
        for i in (0, 1):
            if max(pad[i], pad[i + 2]) > (kernel[i] - 1) * dilation[i]:
                raise ShapeError(f"pad={pad} with kernel={kernel}: a window would hold nothing but padding")
        out = (windows(x.shape[2 + i], kernel[i], stride[i], (pad[i], pad[i + 2]), dilation[i], bool(attrs["ceil"]))
               for i in (0, 1))
        return [TensorSpec(x.dtype, (*x.shape[:2], *out))]

    def outline(self, attrs, shapes):
        return (*shapes[0][:2], None, None) if shapes[0] else (None,) * 4

    def terms(self, attrs, inputs):
        return math.prod(integers("kernel", attrs["kernel"], 2, 1))

    def operations(self, attrs, inputs, outputs):
        return outputs[0].elements * self.terms(attrs, inputs)

    def effort(self, attrs, inputs, outputs):
        return super().effort(attrs, inputs, outputs) + 2 * padded_elements(inputs[0], self._geometry(attrs)[2])

    def _pool(self, x, attrs, fill, combine):
        """Fold x over its windows, first along H, then along W: `combine` is associative, `fill` its neutral value."""
        kernel, stride, pad, dilation = self._geometry(attrs)
        for i in (0, 1):
            axis = 2 + i
            count = windows(x.shape[axis], kernel[i], stride[i], (pad[i], pad[i + 2]), dilation[i],
                            bool(attrs["ceil"]))
            span = (count - 1) * stride[i] + 1
            behind = max(0, span + (kernel[i] - 1) * dilation[i] - x.shape[axis] - pad[i])
            if pad[i] or behind:
                width = [(0, 0)] * 4
                width[axis] = (pad[i], behind)
                x = np.pad(x, width, constant_values=fill)
            y = None
            for k in range(kernel[i]):
                start = k * dilation[i]
                part = x[(slice(None),) * axis + (slice(start, start + span, stride[i]),)]
                y = part.copy() if y is None else combine(y, part, out=y)
            x = y
        return x


class MaxPool2(_Window):
    """Largest element per window; padding never wins: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX MaxPool."""

    name = "max_pool2"
    moves = slice(1)
    exact = True
    accepts = NUMBERS

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        fill = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return [self._pool(x, attrs, fill, np.maximum)]


class AveragePool2(_Window):
    """Mean per window: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX AveragePool.

    count_pad=0 divides by the elements inside the image, 1 by those inside the padded image.
    """

    name = "average_pool2"
    attributes = {**_Window.attributes, "count_pad": 0}

    def _counts(self, length, attrs, i):
        kernel, stride, pad, dilation = (v[i] for v in self._geometry(attrs))
        end = self._geometry(attrs)[2][i + 2]
        count = windows(length, kernel, stride, (pad, end), dilation, bool(attrs["ceil"]))
        at = np.arange(count)[:, None] * stride - pad + np.arange(kernel) * dilation
        low, high = (-pad, length + end) if attrs["count_pad"] else (0, length)
        return np.maximum(1, ((at >= low) & (at < high)).sum(1))

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        wide = widen(x)
        counts = np.multiply.outer(self._counts(x.shape[2], attrs, 0), self._counts(x.shape[3], attrs, 1))
        return [as_type(self._pool(wide, attrs, 0, np.add) / counts.astype(wide.dtype), x.dtype)]


class LpPool2(_Window):
    """p-norm per window: x [N,C,H,W] -> [N,C,OH,OW]. Source: ONNX LpPool."""

    name = "lp_pool2"
    attributes = {**_Window.attributes, "p": 2}

    def infer(self, attrs, inputs):
        integers("p", attrs["p"], 1, 1)
        return super().infer(attrs, inputs)

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        p = int(attrs["p"])
        total = self._pool(np.abs(widen(x)) ** p, attrs, 0, np.add)
        return [as_type(total ** (1.0 / p), x.dtype)]


class _Global(LayerKind):
    attributes = {"keepdims": 1}
    accepts = FLOATS

    def infer(self, attrs, inputs):
        (x,) = take(inputs, 1)
        check_rank("x", x, 4)
        check_dtype("x", x, self.accepts)
        if 0 in x.shape[2:]:
            raise ShapeError(f"x is {x}: expected an image that is not empty")
        return [TensorSpec(x.dtype, x.shape[:2] + ((1, 1) if attrs["keepdims"] else ()))]

    def outline(self, attrs, shapes):
        return (*(shapes[0][:2] if shapes[0] else (None, None)), *((1, 1) if attrs["keepdims"] else ()))

    def operations(self, attrs, inputs, outputs):
        return inputs[0].elements


class GlobalAveragePool(_Global):
    """Mean over H and W: x [N,C,H,W] -> [N,C,1,1], or [N,C] with keepdims=0. Source: ONNX GlobalAveragePool."""

    name = "global_average_pool"

    def terms(self, attrs, inputs):
        return math.prod(inputs[0].shape[2:])

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        return [as_type(widen(x).mean((2, 3), keepdims=bool(attrs["keepdims"])), x.dtype)]


class GlobalMaxPool(_Global):
    """Largest element over H and W: x [N,C,H,W] -> [N,C,1,1], or [N,C] with keepdims=0. Source: ONNX GlobalMaxPool."""

    name = "global_max_pool"
    moves = slice(1)
    exact = True
    accepts = NUMBERS

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        return [x.max((2, 3), keepdims=bool(attrs["keepdims"]))]
