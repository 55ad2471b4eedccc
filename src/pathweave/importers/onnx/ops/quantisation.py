"""Quantised operators of ONNX: linear quantisation, and products of integers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....errors import ModelError
from ....net.floats import HALVES
from ....net.scales import LARGEST_SCALE, LEAST_SCALE, make_scale
from ...types import FEW_BITS
from ..node import Node
from ..tensors import FEW_BITS as FEW_BITS_NUMBERS
from ._window import Window


def point_like(n: Node, zero: str, scale: str) -> str:
    """A zero point in the shape of its scale; "" where there is none."""
    if not zero:
        return ""
    content, like = n.builder.content(zero), n.shape(scale)
    if content is None:
        own = n.shape(zero)
        return zero if own == like or like is None else n.emit("reshape", [zero, n.emit("shape", [scale])])
    sizes = tuple(d for d in like or () if d is not None)
    if like is None or len(sizes) < len(like) or content.shape == sizes:
        return zero
    if content.size not in (1, math.prod(sizes)):
        raise ModelError(f"a zero point has the shape {list(content.shape)}, its scale {list(sizes)}; expected the same")
    return n.constant(np.ascontiguousarray(np.broadcast_to(content.reshape(()), sizes)
                                           if content.size == 1 else content.reshape(sizes)))


def scalar(n: Node, value: str) -> str:
    """A value of one element as a scalar; "" for "". """
    if not value:
        return ""
    content, shape = n.builder.content(value), n.shape(value)
    if shape == ():
        return value
    if content is not None:
        if content.size != 1:
            raise ModelError(f"{value!r} has the shape {list(content.shape)}; expected one number")
        return n.constant(content.reshape(()))
    return n.emit("reshape", [value], {"shape": ()})


def _element_type(n: Node, number: int) -> str:
    return FEW_BITS_NUMBERS[number][0] if number in FEW_BITS_NUMBERS else n.element_type(number)


def _along(n: Node, scale: str, default: int) -> dict:
    """Attributes `axis` and `block`."""
    axis, block = n.int("axis", default), n.int("block_size")
    shape, like = n.shape(n.input(0)), n.shape(scale)
    if like in ((), (1,)) and not block:
        axis = 0  # which ONNX does not look at either
    elif shape is not None:
        axis = n.axis(axis, len(shape))
    return {"axis": axis, "block": block}


def quantize(n: Node) -> None:
    """QuantizeLinear of every opset, and of com.microsoft."""
    n.required(2)
    n.ignore("saturate")  # of 8-bit floats, which are refused
    x, scale, zero = n.input(0), n.input(1), n.input(2)
    given, precision = n.int("output_dtype"), n.int("precision")
    dtype = n.file_type(zero) if zero else _element_type(n, given) if given else "u8"
    if dtype is None:
        n.unsupported("the element type of its zero point is not known")
    stored, bits = FEW_BITS.get(dtype, (dtype, 0))
    if stored not in ("u8", "i8", "u16", "i16"):
        n.unsupported(f"it quantises to {dtype}; expected integers of 2, 4, 8 or 16 bits")
    through = n.element_type(precision) if precision else n.file_type(scale)
    attrs = _along(n, scale, 1)
    if n.dtype(scale) not in (None, "f32"):
        scale = n.emit("cast", [scale], {"dtype": "f32"})
    if n.dtype(x) not in (None, "f32"):
        x = n.emit("cast", [x], {"dtype": "f32"})
    n.emit("quantize_linear", [x, scale, point_like(n, zero, scale)],
           {**attrs, "dtype": stored, "bits": bits, "through": through if through in HALVES else ""}, last=True)
    n.builder.types.declare(n.outputs[0], dtype)


def dequantize(n: Node) -> None:
    """DequantizeLinear of every opset, and of com.microsoft."""
    n.required(2)
    x, scale, zero = n.input(0), n.input(1), n.input(2)
    given = n.int("output_dtype")
    dtype = n.element_type(given) if given else n.file_type(scale)
    attrs = _along(n, scale, 1)
    if n.dtype(scale) not in (None, "f32"):
        scale = n.emit("cast", [scale], {"dtype": "f32"})
    n.emit("dequantize_linear", [x, scale, point_like(n, zero, scale)], attrs, last=True)
    if dtype:
        n.builder.types.declare(n.outputs[0], dtype)
    if not attrs["block"]:
        _state_scale(n, x, scale, zero, attrs["axis"])


def _state_scale(n: Node, x: str, scale: str, zero: str, axis: int) -> None:
    """Say of weights, which are real numbers from here on, what integers of 8 bits they were."""
    array, steps = n.builder.constants.get(x), n.builder.content(scale)
    if array is None or steps is None or array.dtype not in (np.uint8, np.int8) or array.ndim < 2 or not np.all(
            (steps >= LEAST_SCALE) & (steps <= LARGEST_SCALE)):
        return
    value: str | None = n.outputs[0]
    if value not in n.builder.constants:
        value = n.builder.computed(n.outputs[0]) if array.ndim > 2 else None
    points = n.builder.content(zero) if zero else np.zeros(steps.shape, array.dtype)
    if value is None or points is None or points.size != steps.size:
        return
    dtype = "u8" if array.dtype == np.uint8 else "i8"
    if steps.size == 1:
        stated = make_scale(float(steps.reshape(())), int(points.reshape(())), dtype)
    else:
        stated = make_scale(steps.reshape(-1), points.reshape(-1), dtype, axis % array.ndim)
    n.builder.scale(value, stated)


def dynamic_quantize(n: Node) -> None:
    """DynamicQuantizeLinear."""
    n.required(1)
    y, scale, zero = (n.outputs[i] if n.uses_output(i) else n.builder.fresh(f"{n.name}:{what}")
                      for i, what in enumerate(("quantised", "scale", "zero_point")))
    dynamic_quantised(n, n.input(0), (y, scale, zero))


def dynamic_quantised(n: Node, x: str, outputs: tuple[str, str, str]) -> None:
    """Layers that quantise a value to its own range, with its scale and zero point: the names of the three."""
    y, scale, zero = outputs
    n.builder.add_layer(f"{n.name}/dynamic_scale", "dynamic_scale", [x], [scale, zero], {})
    n.builder.add_layer(n.name, "quantize_linear", [x, scale, zero], [y], {"dtype": "u8"})
    n.builder.types.declare(y, "u8")
    n.builder.types.declare(scale, "f32")


def row_point(n: Node, zero: str, a: str) -> str:
    """A zero point or scale of the first operand of a product: one per row stands in a column."""
    shape, rank = n.shape(zero) if zero else None, n.shape(a)
    if shape is None or len(shape) != 1:
        return zero
    if shape == (1,) or rank is not None and len(rank) == 1:
        return scalar(n, zero)
    return n.emit("unsqueeze", [zero], {"axes": (1,)})


def column_point(n: Node, zero: str) -> str:
    """A zero point or scale of the second operand."""
    return scalar(n, zero) if zero and n.shape(zero) == (1,) else zero


def _given(*values: str) -> list[str]:
    return list(values)


def matmul_integer(n: Node) -> None:
    """MatMulInteger."""
    n.required(2)
    a, b = n.input(0), n.input(1)
    n.emit("matmul_integer", _given(a, b, row_point(n, n.input(2), a), column_point(n, n.input(3))), last=True)


def quotient(n: Node, *parts: str) -> str:
    """a * b / y of scales in float32, the last of `parts` dividing where there are three; computed now where they are known."""
    arrays = [n.builder.content(p) for p in parts]
    known = [a.astype(np.float32) for a in arrays if a is not None]
    if len(known) == len(parts):
        y = known[0] * known[1]
        return n.constant(np.asarray(y / known[2] if len(parts) > 2 else y, np.float32))
    y = n.emit("mul", list(parts[:2]))
    return n.emit("div", [y, parts[2]]) if len(parts) > 2 else y


def result_type(n: Node, zero: str, like: str) -> str:
    """The type of a quantised result: its zero point's, else that of another value."""
    dtype = n.dtype(zero) if zero else n.dtype(like)
    if dtype not in ("u8", "i8"):
        n.unsupported(f"its result is of type {dtype}; expected 8-bit integers")
    return dtype


def qlinear_matmul(n: Node) -> None:
    """QLinearMatMul."""
    n.required(8)
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (n.input(i) for i in range(8))
    dtype = result_type(n, y_zero, a)
    scale = quotient(n, row_point(n, a_scale, a), column_point(n, b_scale), scalar(n, y_scale))
    points, zero = [row_point(n, a_zero, a), column_point(n, b_zero)], scalar(n, y_zero)
    if max(len(n.shape(s) or ()) for s in (a_scale, b_scale)) > 2:  # one for each of several matrices
        sums = n.emit("cast", [n.emit("matmul_integer", [a, b, *points])], {"dtype": "f32"})
        real = n.emit("mul", [sums, scale])
        n.emit("quantize_linear", [real, n.number(1.0, real), zero], {"dtype": dtype}, last=True)
    else:
        n.emit("matmul_integer", [a, b, *points, "", scale, zero], {"dtype": dtype}, last=True)
    n.builder.types.declare(n.outputs[0], dtype)


def _weights(n: Node, i: int) -> np.ndarray:
    """The kernel of a convolution by its name; it must be known for its shape."""
    w = n.builder.constants[n.const_name(i, "weights")]
    if w.ndim not in (3, 4):
        n.unsupported(f"its weights have {w.ndim - 2} spatial axes; only one, two and three are supported")
    kernel = n.ints("kernel_shape", None) or w.shape[2:]
    if tuple(kernel) != tuple(w.shape[2:]):
        raise ValueError(f"kernel_shape is {tuple(kernel)}, but the weights are {list(w.shape)}")
    return w


def _window(n: Node, kernel: Sequence[int | None]) -> tuple[Window, tuple[int, ...]]:
    """The geometry of a kernel of known size, and its pad."""
    window = Window(n, [d or 1 for d in kernel])
    pad = window.pad()
    if pad is None:
        n.unsupported("auto_pad of an input whose size is not known; export the model with its sizes fixed")
    return window, pad


def _conv(n: Node, weights: int, points: tuple[str, str], rest: list[str], dtype: str) -> None:
    if n.rank(n.input(weights)) == 5:
        return _conv_in_space(n, weights, points, rest, dtype)
    if n.builder.computed(n.input(weights)) is None:
        return _conv_of_values(n, weights, points, rest, dtype)
    w = _weights(n, weights)
    window, pad = _window(n, w.shape[2:])
    kernel = n.const_name(weights, "weights") if window.spatial == 2 else n.constant(w.reshape(*w.shape[:2], 1, w.shape[2]))
    x = window.widened(n.input(0))
    inputs = [x, kernel, *points, *rest]
    while not inputs[-1]:
        inputs.pop()
    window.output("conv_integer", inputs, {"stride": window.stride, "pad": pad, "dilation": window.dilation,
                                           "groups": n.int("group", 1), "dtype": dtype})


def _conv_of_values(n: Node, weights: int, points: tuple[str, str], rest: list[str], dtype: str) -> None:
    """Weights that are values of the net: two axes of space, of which the kernel's size is known."""
    shape = n.shape(n.input(weights))
    if shape is None or len(shape) != 4 or None in shape[2:]:
        n.unsupported(f"weights ({n.input(weights)!r}) are a value whose kernel has no known size of two axes")
    window, pad = _window(n, shape[2:])
    n.ints("kernel_shape", None)
    inputs = [n.input(0), n.input(weights), *points, *rest]
    while not inputs[-1]:
        inputs.pop()
    window.output("conv_integer", inputs, {"stride": window.stride, "pad": pad, "dilation": window.dilation,
                                           "groups": n.int("group", 1), "dtype": dtype})


def _conv_in_space(n: Node, weights: int, points: tuple[str, str], rest: list[str], dtype: str) -> None:
    """Three axes of space: sums in float64, which hold those of 8-bit integers exactly."""
    shape = n.shape(n.input(weights))
    if shape is None or None in shape[2:]:
        n.unsupported(f"weights ({n.input(weights)!r}) are a value whose kernel has no known size")
    window, pad = _window(n, shape[2:])
    n.ints("kernel_shape", None)
    x, w = (n.emit("cast", [n.input(i)], {"dtype": "f64"}) for i in (0, weights))
    x_zero, w_zero = (n.emit("cast", [p], {"dtype": "f64"}) if p else "" for p in points)
    x = n.emit("sub", [x, x_zero]) if x_zero else x
    w = n.emit("sub", [w, n.emit("reshape", [w_zero], {"shape": (-1, 1, 1, 1, 1)})]) if w_zero else w
    bias = [n.emit("cast", [rest[0]], {"dtype": "f64"})] if rest and rest[0] else []
    sums = n.emit("conv3", [x, w, *bias], {"stride": window.stride, "pad": pad, "dilation": window.dilation,
                                           "groups": n.int("group", 1)})
    if not rest:
        n.emit("cast", [n.emit("cast", [sums], {"dtype": "i64"})], {"dtype": dtype}, last=True)  # which wraps
        return
    scale = n.emit("reshape", [rest[1]], {"shape": (-1, 1, 1, 1)})
    real = n.emit("mul", [n.emit("cast", [sums], {"dtype": "f32"}), scale])
    n.emit("quantize_linear", [real, n.number(1.0, real), rest[2]], {"dtype": dtype}, last=True)


def conv_integer(n: Node) -> None:
    """ConvInteger."""
    n.required(2)
    _conv(n, 1, (scalar(n, n.input(2)), column_point(n, n.input(3))), [], "i32")


def qlinear_conv(n: Node) -> None:
    """QLinearConv."""
    n.required(8)
    x_scale, x_zero, w_scale, w_zero, y_scale, y_zero = (n.input(i) for i in (1, 2, 4, 5, 6, 7))
    if n.int("channels_last"):
        n.unsupported("channels_last=1")
    scale = quotient(n, scalar(n, x_scale), column_point(n, w_scale), scalar(n, y_scale))
    dtype = result_type(n, y_zero, n.input(0))
    _conv(n, 3, (scalar(n, x_zero), column_point(n, w_zero)), [n.input(8), scale, scalar(n, y_zero)], dtype)
    n.builder.types.declare(n.outputs[0], dtype)


OPERATORS = {
    "QuantizeLinear": quantize, "DequantizeLinear": dequantize, "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer, "ConvInteger": conv_integer, "QLinearMatMul": qlinear_matmul, "QLinearConv": qlinear_conv,
    "com.microsoft:QuantizeLinear": quantize, "com.microsoft:DequantizeLinear": dequantize,
    "com.microsoft:QLinearConv": qlinear_conv,
}
