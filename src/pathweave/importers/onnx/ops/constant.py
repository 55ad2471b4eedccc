"""Constants and values made from shapes."""

from __future__ import annotations

import numpy as np

from ....net.format import dtype_of
from ..node import Node

#: Attributes of Constant -> element type of those that are not tensors
_CONSTANT_ATTRIBUTES = {"value": None, "value_float": np.float32, "value_floats": np.float32,
                        "value_int": np.int64, "value_ints": np.int64}


def constant(n: Node) -> None:
    """A constant given in the node."""
    if n.has("sparse_value"):
        _, sparse = n.attribute("sparse_value")
        n.builder.add_sparse(n.outputs[0], sparse, f"constant of node {n.name!r}")
        return
    name = next((a for a in _CONSTANT_ATTRIBUTES if n.has(a)), None)
    if name is None:
        n.unsupported(f"its value is {'a string' if n.has('value_string') or n.has('value_strings') else 'missing'}; only "
                      f"tensors and numbers are supported")
    _, value = n.attribute(name)
    if _CONSTANT_ATTRIBUTES[name] is None:
        n.builder.add_tensor(n.outputs[0], value, f"constant of node {n.name!r}")
    else:
        n.constant(np.array(value, _CONSTANT_ATTRIBUTES[name]), last=True)


def shape(n: Node) -> None:
    """Dimensions of a value, or a range of them."""
    n.required(1)
    attrs = {"start": n.int("start"), "end": n.int("end", 99)} if n.has("start") or n.has("end") else {}
    n.emit("shape", [n.input(0)], attrs, last=True)


def size(n: Node) -> None:
    """Number of elements."""
    n.required(1)
    dims = n.emit("shape", [n.input(0)])
    n.emit("reduce", [dims], {"op": "prod", "axes": (0,), "keepdims": 0}, last=True)


def constant_of_shape(n: Node) -> None:
    """A value of a shape, filled with one number."""
    n.required(1)
    value, dtype = 0.0, "f32"
    if n.has("value"):
        array, onnx_type = n.tensor(n.attribute("value")[1], "attribute value")
        if array.size != 1:
            raise ValueError(f"value has {array.size} elements, expected 1")
        value, dtype = array.reshape(-1)[0].item(), dtype_of(array.dtype)
        n.builder.types.declare(n.outputs[0], onnx_type)
    n.emit("constant_of_shape", [n.input(0)], {"value": value, "dtype": dtype}, last=True)


def range_(n: Node) -> None:
    """start, start + delta, ... before limit."""
    n.required(3)
    n.emit("range", [n.input(i) for i in range(3)], {"dtype": n.dtype(n.input(0)) or "i64"}, last=True)


OPERATORS = {"Constant": constant, "Shape": shape, "Size": size, "ConstantOfShape": constant_of_shape, "Range": range_}
