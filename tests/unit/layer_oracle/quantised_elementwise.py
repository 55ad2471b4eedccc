"""Elementwise functions of bytes, written with ONNX's own operators."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

_OPERATORS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min"}


def _lookup(g, case, a, names):
    x, table = names
    index = g.node("Cast", [x], to=TensorProto.INT64)[0]
    if case.inputs[0].dtype == "i8":
        index = g.node("Add", [index, g.array(128)])[0]
    return g.node("Gather", [table, index])


def _binary(g, case, a, names):
    left, right, *points = names
    real = [g.node("DequantizeLinear", [x, *points[i:i + 2]])[0] for x, i in ((left, 0), (right, 2))]
    y = g.node(_OPERATORS[a["function"]], real)[0]
    if a["function"] == "div":  # NaN gives the least integer here, of which ONNX says nothing
        least = g.array(-np.inf, np.float32)
        y = g.node("Where", [g.node("IsNaN", [y])[0], least, y])[0]
    return g.node("QuantizeLinear", [y, *points[4:]])


OPERATORS = {"lookup_table": _lookup, "quantised_binary": _binary}
