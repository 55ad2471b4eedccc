"""Arithmetic, comparison, logic and unary functions."""

from __future__ import annotations

import numpy as np

from ....net.format import numpy_dtype
from ..node import Node


def unary(kind: str):
    """An operator with one input and no attributes."""
    def operator(n: Node) -> None:
        n.required(1)
        n.emit(kind, [n.input(0)], last=True)
    return operator


#: Opset from which operators of two inputs broadcast as NumPy does.
BROADCASTS = 7


def two(n: Node) -> list[str]:
    """The two inputs; before opset 7 the second one lies along the axes of the first from attribute `axis` on."""
    n.required(2)
    a, b = n.input(0), n.input(1)
    if n.version >= BROADCASTS or not n.int("broadcast"):
        n.ignore(*(("axis",) if n.version < BROADCASTS else ()))  # it says how to broadcast
        return [a, b]
    if not n.has("axis"):
        return [a, b]
    rank, own = n.rank(a), n.rank(b)
    behind = rank - n.axis(n.int("axis"), max(1, rank)) - own if rank else 0
    if behind < 0:
        raise ValueError(f"axis {n.int('axis')}: the second input of rank {own} does not fit behind it into rank {rank}")
    return [a, n.emit("unsqueeze", [b], {"axes": tuple(range(own, own + behind))}) if behind else b]


def binary(kind: str):
    """An operator with two inputs under NumPy broadcasting."""
    def operator(n: Node) -> None:
        n.emit(kind, two(n), last=True)
    return operator


def chain(kind: str):
    """An operator with any number of inputs, as a chain of binary ones."""
    def operator(n: Node) -> None:
        n.required(max(1, len(n.inputs)))
        if len(n.inputs) == 1:
            return n.alias(n.input(0))
        value = n.input(0)
        for i, other in enumerate(n.inputs[1:], 2):
            value = n.emit(kind, [value, other], last=i == len(n.inputs))
    return operator


def mean(n: Node) -> None:
    """Mean of any number of inputs."""
    n.required(max(1, len(n.inputs)))
    if len(n.inputs) == 1:
        return n.alias(n.input(0))
    value = n.input(0)
    for other in n.inputs[1:]:
        value = n.emit("add", [value, other])
    n.emit("mul", [value, n.number(1 / len(n.inputs), value)], last=True)


def mod(n: Node) -> None:
    """Remainder with the divisor's sign; with fmod=1 with the dividend's."""
    n.required(2)
    n.emit("mod", [n.input(0), n.input(1)], {"fmod": n.int("fmod")}, last=True)


def clip(n: Node) -> None:
    """Clip with bounds as attributes (opset 6), constants, or values (then minimum and maximum)."""
    n.required(1)
    x, dtype = n.input(0), n.dtype(n.input(0))
    if n.version < 11:
        return n.emit("clip", [x], {"min": n.float("min", -np.inf), "max": n.float("max", np.inf)}, last=True)
    bounds = {"min": n.input(1), "max": n.input(2)}
    contents = {name: n.const(i) for i, name in ((1, "min"), (2, "max"))}
    floating = dtype is None or np.dtype(numpy_dtype(dtype)).kind == "f"
    if floating and all(not v or contents[name] is not None for name, v in bounds.items()):
        attrs = {name: _scalar(a) for name, a in contents.items() if a is not None and bounds[name]}
        return n.emit("clip", [x], attrs, last=True)
    if not any(bounds.values()):
        return n.alias(x)
    if bounds["min"]:
        x = n.emit("maximum", [x, bounds["min"]], last=not bounds["max"])
    if bounds["max"]:
        n.emit("minimum", [x, bounds["max"]], last=True)


def _scalar(array: np.ndarray) -> float:
    if array.size != 1:
        raise ValueError(f"a bound of Clip must be a scalar, got shape {list(array.shape)}")
    return float(array.reshape(()))


def is_inf(n: Node) -> None:
    """Infinity of the signs that are asked for."""
    n.required(1)
    x = n.input(0)
    positive, negative = n.int("detect_positive", 1), n.int("detect_negative", 1)
    if positive and negative:
        x = n.emit("abs", [x])
    elif negative:
        x = n.emit("neg", [x])
    elif not positive:
        return n.emit("less", [x, x], last=True)  # true nowhere
    n.emit("equal", [x, n.number(np.inf, x)], last=True)


def cast(n: Node) -> None:
    """Cast to an element type; before opset 6 by its name."""
    n.required(1)
    n.ignore("saturate", "round_mode")  # of 8-bit floats, which are refused
    if n.version >= 6:
        return _cast(n, n.element_type(n.int("to")))
    from onnx import TensorProto
    name = n.text("to").upper()
    if name not in list(TensorProto.DataType.keys()):
        raise ValueError(f"to is {name!r}, expected the name of an element type, such as FLOAT")
    _cast(n, n.element_type(TensorProto.DataType.Value(name)))


def cast_like(n: Node) -> None:
    """Cast to the element type of the second input."""
    n.required(2)
    n.ignore("saturate", "round_mode")
    dtype = n.file_type(n.input(1))
    if dtype is None:
        n.unsupported("the element type of its second input is not known")
    _cast(n, dtype)


def _cast(n: Node, target: str) -> None:
    n.emit("cast", [n.input(0)], n.builder.types.cast(n.file_type(n.input(0)), target), last=True)
    n.builder.types.declare(n.outputs[0], target)


OPERATORS = {
    "Add": binary("add"), "Sub": binary("sub"), "Mul": binary("mul"), "Div": binary("div"), "Pow": binary("pow"),
    "Min": chain("minimum"), "Max": chain("maximum"), "Sum": chain("add"), "Mean": mean, "Mod": mod,
    "Equal": binary("equal"), "Less": binary("less"), "Greater": binary("greater"),
    "LessOrEqual": binary("less_equal"), "GreaterOrEqual": binary("greater_equal"),
    "And": binary("logical_and"), "Or": binary("logical_or"), "Xor": binary("logical_xor"), "Not": unary("logical_not"),
    "Exp": unary("exp"), "Log": unary("log"), "Sqrt": unary("sqrt"), "Reciprocal": unary("reciprocal"),
    "Neg": unary("neg"), "Abs": unary("abs"), "Floor": unary("floor"), "Ceil": unary("ceil"), "Round": unary("round"),
    "Sign": unary("sign"), "Erf": unary("erf"), "Sin": unary("sin"), "Cos": unary("cos"), "IsNaN": unary("is_nan"),
    "IsInf": is_inf, "Identity": unary("identity"), "Clip": clip, "Cast": cast, "CastLike": cast_like,
}
