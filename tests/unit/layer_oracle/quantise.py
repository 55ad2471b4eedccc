"""Linear quantisation and products of integers. ONNX Runtime's own operators where ONNX has none."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

_TYPES = {"u8": TensorProto.UINT8, "i8": TensorProto.INT8, "u16": TensorProto.UINT16, "i16": TensorProto.INT16}


def _quantize(g, case, a, names):
    attrs = {"axis": a["axis"] if case.inputs[0].rank else 0}
    if a["block"]:
        attrs["block_size"] = a["block"]
    scale, *zero = names[1:]
    if not zero:
        attrs["output_dtype"] = _TYPES[a["dtype"]]
    if not a["through"] and not a["bits"]:
        return g.node("QuantizeLinear", [names[0], scale, *zero], **attrs)
    # In the arithmetic that ONNX writes down.
    quotient = g.node("Div", [names[0], scale])[0]
    if a["through"]:
        for to in (TensorProto.FLOAT16 if a["through"] == "f16" else TensorProto.BFLOAT16, TensorProto.FLOAT):
            quotient = g.node("Cast", [quotient], to=to)[0]
    y = g.node("Round", [quotient])[0]
    if zero:
        y = g.node("Add", [y, g.node("Cast", zero, to=TensorProto.FLOAT)[0]])[0]
    bits = a["bits"] or 8
    low, high = (0, 2**bits - 1) if a["dtype"] == "u8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    y = g.node("Clip", [y, g.array(low, np.float32), g.array(high, np.float32)])[0]
    return g.node("Cast", [y], to=_TYPES[a["dtype"]])


def _dequantize(g, case, a, names):
    attrs = {"axis": a["axis"] if case.inputs[0].rank else 0}
    return g.node("DequantizeLinear", names, **attrs, **({"block_size": a["block"]} if a["block"] else {}))


def _dynamic(g, case, a, names):
    return g.node("DynamicQuantizeLinear", names, 3)[1:]


def _padded(names):
    return [*names, *[""] * (7 - len(names))]


def _finish(g, case, a, sums, rest, per_output):
    """What follows exact sums, in standard operators: rest is bias, scale and zero point."""
    bias, scale, zero = rest
    if bias:
        sums = g.node("Add", [sums, _shaped(g, bias, per_output)])[0]
    if a["dtype"] == "i32":
        return [sums]
    real = g.node(
        "Mul",
        [
            g.node("Cast", [sums], to=TensorProto.FLOAT)[0],
            scale if case.inputs[5].rank != 1 else _shaped(g, scale, per_output),
        ],
    )[0]
    if a["dtype"] == "f32":
        return [real]
    zero = zero or g.array(0, np.uint8 if a["dtype"] == "u8" else np.int8)
    return g.node("QuantizeLinear", [real, g.array(1, np.float32), zero])


def _shaped(g, name, shape):
    return g.node("Reshape", [name, g.array(shape)])[0] if shape else name


def _signed(g, name):
    """Integers of 32 bits."""
    return g.node("Cast", [name], to=TensorProto.INT32)[0] if name else ""


def _matmul_integer(g, case, a, names):
    x, w, x_zero, w_zero, *rest = _padded(names)
    left, right = (_signed(g, v) for v in (x, w))
    if x_zero:
        left = g.node("Sub", [left, _signed(g, x_zero)])[0]
    if w_zero:
        right = g.node("Sub", [right, _signed(g, w_zero)])[0]
    return _finish(g, case, a, g.node("MatMul", [left, right])[0], rest, None)


def _conv_integer(g, case, a, names):
    """In float64, whose sums are exact here; ONNX Runtime's own ConvInteger takes fewer types."""
    x, w, x_zero, w_zero, *rest = _padded(names)
    real = [g.node("Cast", [v], to=TensorProto.FLOAT)[0] for v in (x, w)]
    if x_zero:
        real[0] = g.node("Sub", [real[0], g.node("Cast", [x_zero], to=TensorProto.FLOAT)[0]])[0]
    if w_zero:
        point = _shaped(g, w_zero, [-1, 1, 1, 1] if case.inputs[3].rank else None)
        real[1] = g.node("Sub", [real[1], g.node("Cast", [point], to=TensorProto.FLOAT)[0]])[0]
    y = g.node(
        "Conv", real, pads=list(a["pad"]), strides=list(a["stride"]), dilations=list(a["dilation"]), group=a["groups"]
    )[0]
    return _finish(g, case, a, g.node("Cast", [g.node("Round", [y])[0]], to=TensorProto.INT32)[0], rest, [-1, 1, 1])


def _codes(g, value, bits):
    """The numbers of `bits` bits in bytes, as floats, along the last axis."""
    if bits == 4:
        axis, fifteen, four = g.array([-1]), g.array([15], np.uint8), g.array([4], np.uint8)
        halves = g.node("BitwiseAnd", [value, fifteen]) + g.node("BitShift", [value, four], direction="RIGHT")
        pairs = g.node("Concat", [g.node("Unsqueeze", [h, axis])[0] for h in halves], axis=-1)[0]
        value = g.node("Flatten", [pairs], axis=1)[0]
    return g.node("Cast", [value], to=TensorProto.FLOAT)[0]


def _dequantised(g, case, a, names):
    """The product with weights that are made floats first: ONNX Runtime takes blocks of powers of two from 16 on."""
    x, w, scale, zero, bias = names
    outputs, blocks = case.inputs[1].shape[:2]
    q = _shaped(g, _codes(g, w, a["bits"]), [outputs, blocks, a["block"]])
    point = g.array(np.full((outputs, blocks), 2.0 ** (a["bits"] - 1)), np.float32)
    if zero:
        point = zero if case.inputs[3].dtype == "f32" else _shaped(g, _codes(g, zero, a["bits"]), [outputs, -1])
        point = g.node("Slice", [point, g.array([0]), g.array([blocks]), g.array([1])])[0]
    last = g.array([2])
    real = g.node("Sub", [q, g.node("Unsqueeze", [point, last])[0]])[0]
    real = g.node("Mul", [real, g.node("Unsqueeze", [scale, last])[0]])[0]
    rows = g.node("Slice", [_shaped(g, real, [outputs, -1]), g.array([0]), g.array([a["depth"]]), g.array([1])])[0]
    y = g.node("MatMul", [x, g.node("Transpose", [rows])[0]])
    return g.node("Add", [y[0], bias]) if bias else y


def _matmul_nbits(g, case, a, names):
    x, w, scale, zero, bias = (*names, *[""] * (5 - len(names)))
    outputs = case.inputs[1].shape[0]
    if a["block"] < 16 or a["block"] & (a["block"] - 1):
        return _dequantised(g, case, a, (x, w, scale, zero, bias))
    if a["bits"] == 8 and zero and case.inputs[3].dtype == "f32":  # ONNX Runtime refuses these
        q = g.node("Sub", [g.node("Cast", [w], to=TensorProto.FLOAT)[0], g.node("Unsqueeze", [zero, g.array([2])])[0]])[0]
        real = g.node("Mul", [q, g.node("Unsqueeze", [scale, g.array([2])])[0]])[0]
        rows = g.node("Slice", [_shaped(g, real, [outputs, -1]), g.array([0]), g.array([a["depth"]]), g.array([1])])[0]
        return g.node("MatMul", [x, g.node("Transpose", [rows])[0]])
    g.nodes.append(
        helper.make_node(
            "MatMulNBits",
            [x, w, scale, zero, "", bias],
            ["nbits"],
            domain="com.microsoft",
            K=a["depth"],
            N=outputs,
            bits=a["bits"],
            block_size=a["block"],
        )
    )
    return ["nbits"]


OPERATORS = {
    "quantize_linear": _quantize,
    "dequantize_linear": _dequantize,
    "dynamic_scale": _dynamic,
    "matmul_integer": _matmul_integer,
    "conv_integer": _conv_integer,
    "matmul_nbits": _matmul_nbits,
}
