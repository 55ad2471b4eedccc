"""Operators of com.microsoft that are others of ai.onnx with something before or behind them.

Source: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from ..node import Node
from ._inner import emit_activation, emit_operator


def _gelu(kind: str, attrs: dict, bias: bool):
    """An activation of the first input, or of the sum of the first two where the second is there, or must be."""
    def operator(n: Node) -> None:
        n.required(2 if bias else 1)
        x = n.input(0)
        if n.input(1):
            x = n.emit("add", [x, n.input(1)])
        n.emit(kind, [x], attrs, last=True)
    return operator


def quick_gelu(n: Node) -> None:
    """x * sigmoid(alpha x)."""
    n.required(1)
    n.emit("swish", [n.input(0)], {"alpha": n.float("alpha", 1.702)}, last=True)


def bias_split_gelu(n: Node) -> None:
    """Of x + bias, the left half of the last axis times the gelu of the right one."""
    n.required(2)
    total = n.emit("add", [n.input(0), n.input(1)])
    size = (n.shape(total) or (None,))[-1] or (n.shape(n.input(1)) or (None,))[-1]
    if size is None or size % 2:
        n.unsupported(f"its last axis has {size or 'an unknown number of'} elements; expected an even number")
    half = size // 2
    left, right = (n.emit("slice", [total], {"starts": (a,), "ends": (a + half,), "axes": (-1,), "steps": (1,)})
                   for a in (0, half))
    n.emit("mul", [left, n.emit("gelu", [right], {"approximate": 0})], last=True)


def _turned(n: Node, i: int, rows: str, batch: str) -> str:
    """An operand of FusedMatMul with its axes in their usual order."""
    value = n.input(i)
    rows_turned, batch_turned = n.int(rows), n.int(batch) if batch else 0
    if not (rows_turned or batch_turned):
        return value
    rank = n.rank(value)
    if rank < 2:
        return value
    perm = [*range(1, rank - 1), 0, rank - 1] if batch_turned else list(range(rank))
    if rows_turned:
        perm[-2:] = perm[:-3:-1]
    return n.emit("transpose", [value], {"perm": tuple(perm)})


def fused_matmul(n: Node) -> None:
    """alpha times the product of two operands, each transposed or not."""
    n.required(2)
    alpha = n.float("alpha", 1.0)
    operands = [_turned(n, 0, "transA", "transBatchA"), _turned(n, 1, "transB", "transBatchB")]
    y = n.emit("matmul", operands, last=alpha == 1)
    if alpha != 1:
        n.emit("mul", [y, n.number(alpha, y)], last=True)


def fused_gemm(n: Node) -> None:
    """Gemm and an activation."""
    n.required(2)
    inputs = [n.input(i) for i in range(3)]
    parameters = [n.float(f"activation_{name}") for name in ("alpha", "beta", "gamma") if n.has(f"activation_{name}")]
    if n.has("leaky_relu_alpha"):
        parameters = [n.float("leaky_relu_alpha")]
    y = emit_operator(n, "Gemm", inputs[:2] if not inputs[2] else inputs)
    emit_activation(n, y, parameters)


def _conv(channels_last: bool):
    """Conv, with channels last or not, a residual and an activation where they are there."""
    def operator(n: Node) -> None:
        n.required(2)
        x, residual = n.input(0), n.input(3)
        spatial = len(n.builder.constants[n.const_name(1, "weights")].shape) - 2
        if channels_last:
            x = n.emit("transpose", [x], {"perm": (0, spatial + 1, *range(1, spatial + 1))})
        y = emit_operator(n, "Conv", [x, n.input(1), n.input(2)])
        if channels_last:
            y = n.emit("transpose", [y], {"perm": (0, *range(2, spatial + 2), 1)})
        if residual:
            y = n.emit("add", [y, residual])
        emit_activation(n, y, [float(p) for p in n.attribute("activation_params")[1]] if n.has("activation_params") else [])
    return operator


def nhwc_max_pool(n: Node) -> None:
    """MaxPool with channels last."""
    n.required(1)
    spatial = len(n.ints("kernel_shape"))
    x = n.emit("transpose", [n.input(0)], {"perm": (0, spatial + 1, *range(1, spatial + 1))})
    y = emit_operator(n, "MaxPool", [x])
    n.emit("transpose", [y], {"perm": (0, *range(2, spatial + 2), 1)}, last=True)


OPERATORS = {
    "com.microsoft:FastGelu": _gelu("gelu", {"approximate": 1}, False),
    "com.microsoft:BiasGelu": _gelu("gelu", {"approximate": 0}, True),
    "com.microsoft:QuickGelu": quick_gelu, "com.microsoft:BiasSplitGelu": bias_split_gelu,
    "com.microsoft:FusedMatMul": fused_matmul, "com.microsoft:TransposeMatMul": fused_matmul,
    "com.microsoft:FusedGemm": fused_gemm, "com.microsoft:FusedConv": _conv(False),
    "com.microsoft:NhwcConv": _conv(True), "com.microsoft:NhwcFusedConv": _conv(True),
    "com.microsoft:NhwcMaxPool": nhwc_max_pool,
}
