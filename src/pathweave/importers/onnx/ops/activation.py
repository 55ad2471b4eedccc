"""Activations and soft maxima."""

from __future__ import annotations

from ..node import Node
from .elementwise import BROADCASTS, unary

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def with_floats(kind: str, **defaults: float):
    """An activation whose ONNX attributes are numbers of the same names here."""
    def operator(n: Node) -> None:
        n.required(1)
        n.emit(kind, [n.input(0)], {name: n.float(name, value) for name, value in defaults.items()}, last=True)
    return operator


def prelu(n: Node) -> None:
    """Parametric ReLU; a slope that is not constant becomes max(x, 0) + slope * min(x, 0)."""
    n.required(2)
    x, slope = n.input(0), n.computed(1) or n.input(1)
    shape = n.shape(slope)
    if n.version < BROADCASTS and shape is not None and len(shape) == 1 and shape[0] != 1 and n.rank(x) > 2:
        slope = n.emit("unsqueeze", [slope], {"axes": tuple(range(1, n.rank(x) - 1))})  # one slope for each channel
    if slope in n.builder.constants:
        return n.emit("prelu", [x, slope], last=True)
    zero = n.number(0, x)
    below = n.emit("mul", [slope, n.emit("minimum", [x, zero])])
    n.emit("add", [n.emit("maximum", [x, zero]), below], last=True)


def selu(n: Node) -> None:
    """Selu; its default numbers have more digits from opset 6 on."""
    n.required(1)
    alpha, gamma = (SELU_ALPHA, SELU_GAMMA) if n.version >= 6 else (1.6732, 1.0507)
    n.emit("selu", [n.input(0)], {"alpha": n.float("alpha", alpha), "gamma": n.float("gamma", gamma)}, last=True)


def gelu(n: Node) -> None:
    """Gelu, exact or by tanh."""
    n.required(1)
    approximate = n.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is {approximate!r}, expected none or tanh")
    n.emit("gelu", [n.input(0)], {"approximate": int(approximate == "tanh")}, last=True)


def swish(n: Node) -> None:
    """x * sigmoid(alpha * x)."""
    n.required(1)
    x, alpha = n.input(0), n.float("alpha", 1.0)
    if alpha == 1:
        return n.emit("silu", [x], last=True)
    n.emit("mul", [x, n.emit("sigmoid", [n.emit("mul", [x, n.number(alpha, x)])])], last=True)


def shrink(n: Node) -> None:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    n.required(1)
    x, bias, limit = n.input(0), n.float("bias"), n.float("lambd", 0.5)
    inner = n.emit("where", [n.emit("greater", [x, n.number(limit, x)]), n.emit("sub", [x, n.number(bias, x)]),
                             n.number(0, x)])
    n.emit("where", [n.emit("less", [x, n.number(-limit, x)]), n.emit("add", [x, n.number(bias, x)]), inner], last=True)


def softmax(kind: str):
    """Softmax and its kin along an axis; before opset 13 over all axes from `axis` on, taken as one."""
    def operator(n: Node) -> None:
        n.required(1)
        x = n.input(0)
        if n.version >= 13:
            return n.emit(kind, [x], {"axis": n.int("axis", -1)}, last=True)
        axis = n.int("axis", 1)
        if axis == -1:
            return n.emit(kind, [x], {"axis": -1}, last=True)
        rank = n.rank(x)
        axis = n.axis(axis, rank)
        if axis == rank - 1:
            return n.emit(kind, [x], {"axis": -1}, last=True)
        shape = n.emit("shape", [x])
        leading = n.emit("slice", [shape], {"starts": (0,), "ends": (axis,), "axes": (0,), "steps": (1,)})
        rest = n.emit("slice", [shape], {"starts": (axis,), "ends": (rank,), "axes": (0,), "steps": (1,)})
        columns = n.emit("reduce", [rest], {"op": "prod", "axes": (0,), "keepdims": 1})
        flat_shape = n.emit("concat", [leading, columns], {"axis": 0})
        flat = n.emit("reshape", [x, flat_shape], {"allowzero": 1})
        n.emit("reshape", [n.emit(kind, [flat], {"axis": -1}), shape], {"allowzero": 1}, last=True)
    return operator


OPERATORS = {
    "Relu": unary("relu"), "Sigmoid": unary("sigmoid"), "Tanh": unary("tanh"), "Softplus": unary("softplus"),
    "Softsign": unary("softsign"), "HardSwish": unary("hard_swish"), "Mish": unary("mish"),
    "LeakyRelu": with_floats("leaky_relu", alpha=0.01), "Elu": with_floats("elu", alpha=1.0),
    "Celu": with_floats("celu", alpha=1.0), "ThresholdedRelu": with_floats("thresholded_relu", alpha=1.0),
    "HardSigmoid": with_floats("hard_sigmoid", alpha=0.2, beta=0.5),
    "Selu": selu,
    "PRelu": prelu, "Gelu": gelu, "com.microsoft:Gelu": gelu, "Swish": swish,
    "Shrink": shrink,
    "Softmax": softmax("softmax"), "LogSoftmax": softmax("log_softmax"), "Hardmax": softmax("hardmax"),
}
