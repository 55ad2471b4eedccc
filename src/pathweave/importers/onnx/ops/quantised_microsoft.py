"""Quantised operators of com.microsoft, as ONNX Runtime's quantiser writes them.

Element-wise ones, pools and their like are the operator on real numbers between a dequantize_linear and a quantize_linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import numpy as np

from ....layers.integer_products import unpacked
from ..node import Node
from .activation import softmax, with_floats
from .elementwise import binary, unary
from .pooling import average_pool
from .quantisation import column_point, dynamic_quantised, quotient, result_type, scalar
from .reduction import reduce
from .shaping import concat


def _inner(n: Node, given: Sequence[str], version: int) -> Node:
    """The operator on real numbers as a node of its own: the attributes are those of `n`."""
    inner = copy(n)
    inner.given, inner.outputs, inner.version = list(given), [n.builder.fresh(f"{n.name}:real")], version
    inner._seen_inputs = set()
    inner.name = f"{n.name}/real"
    n.builder.read.add(inner.outputs[0])
    return inner


def _real(n: Node, i: int) -> str:
    """Inputs i, i + 1, i + 2 (a value, its scale and zero point) as real numbers."""
    scale = scalar(n, n.input(i + 1))
    return n.emit("dequantize_linear", [n.input(i), scale, scalar(n, n.input(i + 2))])


def _quantised(n: Node, value: str, scale: str, zero: str, like: str) -> None:
    """The node's output: a value quantised to the type of the zero point, or of `like`."""
    dtype = result_type(n, zero, like)
    n.emit("quantize_linear", [value, scalar(n, scale), scalar(n, zero)], {"dtype": dtype}, last=True)
    n.builder.types.declare(n.outputs[0], dtype)


def around(function: Callable[[Node], None], operands: Sequence[int], result: int, others: Sequence[int] = (),
           version: Callable[[Node], int] = lambda n: 17):
    """The operator `function` on the values at `operands`, each with scale and zero point behind it; `result`: the position of
    the result's scale, `others`: inputs that are handed on first."""
    def operator(n: Node) -> None:
        n.required(result + 1)
        inner = _inner(n, [*(n.input(i) for i in others), *(_real(n, i) for i in operands)], version(n))
        function(inner)
        _quantised(n, inner.outputs[0], n.input(result), n.input(result + 1), n.input(operands[0]))
    return operator


def _channels_first(function: Callable[[Node], None]) -> Callable[[Node], None]:
    """A pool of images whose channels may lie last."""
    def operator(n: Node) -> None:
        if not n.int("channels_last"):
            return function(n)
        rank = n.rank(n.input(0))
        inner = _inner(n, [n.emit("transpose", [n.input(0)], {"perm": (0, rank - 1, *range(1, rank - 1))})], n.version)
        function(inner)
        n.emit("transpose", [inner.outputs[0]], {"perm": (0, *range(2, rank), 1)}, last=True)
    return operator


def _global_average(n: Node) -> None:
    rank = n.rank(n.input(0))
    n.emit("reduce", [n.input(0)], {"op": "mean", "axes": tuple(range(2, rank)), "keepdims": 1}, last=True)


def _where(n: Node) -> None:
    n.emit("where", [n.input(0), n.input(1), n.input(2)], last=True)


def qlinear_concat(n: Node) -> None:
    """QLinearConcat: scale and zero point of the result, then each operand with its own."""
    n.required(5)
    inner = _inner(n, [_real(n, i) for i in range(2, len(n.inputs), 3)], 13)
    concat(inner)
    _quantised(n, inner.outputs[0], n.input(0), n.input(1), n.input(2))


def _transposed(n: Node, value: str, wanted: bool) -> str:
    return n.emit("transpose", [value], {"perm": (1, 0)}) if wanted else value


def q_gemm(n: Node) -> None:
    """QGemm: alpha A' B' + C in integers, of which the result is in 8 bits or in float32."""
    n.required(6)
    a = _transposed(n, n.input(0), bool(n.int("transA")))
    b = _transposed(n, n.input(3), bool(n.int("transB")))
    alpha, c, y_scale, y_zero = n.float("alpha", 1.0), n.input(6), n.input(7), n.input(8)
    scale = quotient(n, scalar(n, n.input(1)), column_point(n, n.input(4)), *([scalar(n, y_scale)] if y_scale else []))
    if alpha != 1:
        scale = n.emit("mul", [scale, n.number(alpha, scale)])
    dtype = result_type(n, y_zero, n.input(0)) if y_scale else "f32"
    points = [scalar(n, n.input(2)), column_point(n, n.input(5))]
    shape = n.shape(c) if c else ()
    if c and shape is not None and len(shape) == 2 and shape[0] == 1:
        c, shape = n.emit("squeeze", [c], {"axes": (0,)}), shape[1:]
    columns = n.size(b, 1)
    if not c or shape is not None and columns is not None and tuple(shape) == (columns,):
        n.emit("matmul_integer", [a, b, *points, c, scale, scalar(n, y_zero)], {"dtype": dtype}, last=True)
    else:
        sums = n.emit("add", [n.emit("matmul_integer", [a, b, *points]), c])
        real = n.emit("mul", [n.emit("cast", [sums], {"dtype": "f32"}), scale], last=not y_scale)
        if y_scale:
            n.emit("quantize_linear", [real, n.number(1.0, real), scalar(n, y_zero)], {"dtype": dtype}, last=True)
    n.builder.types.declare(n.outputs[0], dtype)


def _to_float(n: Node, a: str, b: str, points: Sequence[str], scale: str, bias: str) -> None:
    y = n.emit("matmul_integer", [a, b, *points, "", scale], {"dtype": "f32"}, last=not bias)
    if bias:
        n.emit("add", [y, bias], last=True)


def matmul_to_float(n: Node) -> None:
    """MatMulIntegerToFloat."""
    n.required(4)
    scale = quotient(n, scalar(n, n.input(2)), column_point(n, n.input(3)))
    _to_float(n, n.input(0), n.input(1), [scalar(n, n.input(4)), column_point(n, n.input(5))], scale, n.input(6))


def dynamic_matmul(n: Node) -> None:
    """DynamicQuantizeMatMul: A is quantised to its own range."""
    n.required(3)
    y, scale, zero = (n.builder.fresh(f"{n.name}:{what}") for what in ("quantised", "scale", "zero_point"))
    dynamic_quantised(n, n.input(0), (y, scale, zero))
    product = quotient(n, scale, column_point(n, n.input(2)))
    _to_float(n, y, n.input(1), [zero, column_point(n, n.input(3))], product, n.input(4))


def _few_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of 2, 4 or 8 bits along the last axis of packed bytes."""
    if bits in (4, 8):
        return unpacked(array, bits)
    return (array[..., None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3).reshape(*array.shape[:-1], -1)


def matmul_nbits(n: Node) -> None:
    """MatMulNBits; weights of 2 bits, and those in another order (g_idx), become float32 now."""
    n.required(3)
    n.ignore("accuracy_level")  # how inputs may be rounded: here they are not
    if n.int("weight_prepacked"):
        n.unsupported("weight_prepacked: weights in an order of one accelerator")
    bits, block, depth, outputs = n.int("bits", 4), n.int("block_size", 128), n.int("K"), n.int("N")
    if bits not in (2, 4, 8):
        n.unsupported(f"bits={bits}; expected 2, 4 or 8")
    blocks = -(-depth // block)
    w = n.builder.constants[n.const_name(1, "weights")]
    scale = n.builder.constants[n.const_name(2, "scales")].reshape(outputs, blocks)
    zero, order = n.input(3), n.const_required(4, "g_idx") if n.input(4) else None
    if zero:
        points = n.builder.constants[n.const_name(3, "zero points")]
        zero = n.constant(points.reshape(outputs, -1))
    w = w.reshape(outputs, blocks, -1)
    if bits == 2 or order is not None and not np.array_equal(order, np.arange(len(order)) // block):
        q = _few_bits(w, bits).reshape(outputs, -1)[:, :depth].astype(np.float32)
        at = np.arange(depth) // block if order is None else order[:depth]
        points = np.full((outputs, blocks), 2.0**(bits - 1), np.float32)
        if zero:
            given = n.builder.constants[zero]
            points = (given if given.dtype.kind == "f" else _few_bits(given, bits)[:, :blocks]).astype(np.float32)
        dense = n.constant((q - points[:, at]) * scale[:, at])
        return n.emit("dense", [n.input(0), dense, n.input(5)], last=True)
    n.emit("matmul_nbits", [n.input(0), n.constant(w), n.constant(scale), zero, n.input(5)],
           {"bits": bits, "block": block, "depth": depth}, last=True)


def gather_blocks(n: Node) -> None:
    """GatherBlockQuantized: slices of integers, scales and zero points, which then become real numbers."""
    n.required(3)
    bits, block = n.int("bits", 4), n.int("block_size", 128)
    data = n.builder.constants[n.const_name(0, "data")]
    scales = n.builder.constants[n.const_name(2, "scales")]
    packed = n.file_type(n.input(0)) == "u8"
    zero = n.builder.constants[n.const_name(3, "zero points")] if n.input(3) else None
    if packed:
        data = _few_bits(data, bits)
        zero = np.full(scales.shape, 2**(bits - 1), np.uint8) if zero is None else \
            _few_bits(zero, bits)[..., :scales.shape[-1]]
    gather, quantise = n.axis(n.int("gather_axis"), data.ndim), n.axis(n.int("quantize_axis", 1), data.ndim)
    if gather == quantise:
        n.unsupported("gather_axis is quantize_axis")
    indices, rank = n.input(1), n.rank(n.input(1))

    def taken(array: np.ndarray) -> str:
        full = list(data.shape)
        full[quantise] = array.shape[quantise]
        # A size of 1 stands for all positions along the axis.
        return n.emit("gather", [n.constant(np.ascontiguousarray(np.broadcast_to(array, full))), indices], {"axis": gather})
    parts = [taken(data), taken(scales), *([taken(zero)] if zero is not None else [])]
    axis = quantise + (rank - 1 if quantise > gather else 0)
    n.emit("dequantize_linear", parts, {"axis": axis, "block": block}, last=True)


def q_attention(n: Node) -> None:
    """QAttention: queries, keys and values from one product of integers, then attention on real numbers."""
    n.required(5)
    if n.input(8):
        n.unsupported("its input past is given")
    if n.int("unidirectional") or n.int("do_rotary") or n.int("past_present_share_buffer") or n.reads_output(1):
        n.unsupported("unidirectional, do_rotary or present")
    heads = n.int("num_heads")
    weights = n.shape(n.input(1))
    if weights is None or weights[1] is None or heads < 1 or weights[1] % (3 * heads):
        n.unsupported("the width of its weights is not known, or not that of its heads three times")
    size = weights[1] // (3 * heads)
    scale = quotient(n, scalar(n, n.input(3)), column_point(n, n.input(4)))
    points = [scalar(n, n.input(6)), column_point(n, n.input(7))]
    y = n.emit("matmul_integer", [n.input(0), n.input(1), *points, "", scale], {"dtype": "f32"})
    y = n.emit("reshape", [n.emit("add", [y, n.input(2)]), n.constant([0, 0, 3, heads, size])], {})
    y = n.emit("transpose", [y], {"perm": (2, 0, 3, 1, 4)})

    def part(i: int) -> str:
        return n.emit("gather", [y, n.constant(np.int64(i))], {"axis": 0})
    query, key, value = part(0), n.emit("transpose", [part(1)], {"perm": (0, 1, 3, 2)}), part(2)
    factor = n.float("scale", 0.0) or size**-0.5
    scores = n.emit("mul", [n.emit("matmul", [query, key]), n.constant(np.float32(factor))])
    if n.input(5):
        mask = n.shape(n.input(5))
        if mask is None or len(mask) != 2:
            n.unsupported("a mask of lengths; only one of a number for each token")
        kept = n.emit("unsqueeze", [n.emit("cast", [n.input(5)], {"dtype": "f32"})], {"axes": (1, 2)})
        away = n.emit("sub", [n.constant(np.float32(1)), kept])
        scores = n.emit("add", [scores, n.emit("mul", [away, n.constant(np.float32(n.float("mask_filter_value", -10000.0)))])])
    mixed = n.emit("matmul", [n.emit("softmax", [scores], {"axis": -1}), value])
    mixed = n.emit("transpose", [mixed], {"perm": (0, 2, 1, 3)})
    n.emit("reshape", [mixed, n.constant([0, 0, heads * size])], {}, last=True)


_sigmoid, _leaky_relu = unary("sigmoid"), with_floats("leaky_relu", alpha=0.01)

OPERATORS = {f"com.microsoft:{name}": function for name, function in {
    "QLinearAdd": around(binary("add"), (0, 3), 6), "QLinearMul": around(binary("mul"), (0, 3), 6),
    "QLinearSigmoid": around(_sigmoid, (0,), 3), "QLinearLeakyRelu": around(_leaky_relu, (0,), 3),
    "QLinearSoftmax": around(softmax("softmax"), (0,), 3, version=lambda n: n.int("opset", 13)),
    "QLinearGlobalAveragePool": around(_channels_first(_global_average), (0,), 3),
    "QLinearAveragePool": around(_channels_first(average_pool), (0,), 3),
    "QLinearReduceMean": around(reduce("mean"), (0,), 3, version=lambda n: 11),
    "QLinearWhere": around(_where, (1, 4), 7, others=(0,)), "QLinearConcat": qlinear_concat, "QGemm": q_gemm,
    "MatMulIntegerToFloat": matmul_to_float, "DynamicQuantizeMatMul": dynamic_matmul, "MatMulNBits": matmul_nbits,
    "GatherBlockQuantized": gather_blocks, "QAttention": q_attention}.items()}

