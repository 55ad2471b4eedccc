"""Operators of com.microsoft from before ai.onnx had them, and softmax with a bias.

Source: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from ..node import Node
from ._inner import emit_operator


def _as(op: str, version: int, needed: int):
    """The same as an operator of ai.onnx at an opset."""
    def operator(n: Node) -> None:
        n.required(needed)
        n.alias(emit_operator(n, op, [n.input(i) for i in range(len(n.inputs))], version=version))
    return operator


def bias_softmax(n: Node) -> None:
    """Softmax of x + bias, whose rows go over all axes from `axis` on; the bias is for the last axes of x, or for its first."""
    n.required(2)
    x, bias = n.input(0), n.input(1)
    if not n.int("is_inner_broadcast", 1) and n.rank(bias) < n.rank(x):
        bias = n.emit("unsqueeze", [bias], {"axes": tuple(range(n.rank(bias), n.rank(x)))})
    n.alias(emit_operator(n, "Softmax", [n.emit("add", [x, bias])], version=11))


OPERATORS = {"com.microsoft:Trilu": _as("Trilu", 14, 1), "com.microsoft:ExpandDims": _as("Unsqueeze", 13, 2),
             "com.microsoft:Range": _as("Range", 11, 3), "com.microsoft:GatherND": _as("GatherND", 12, 2),
             "com.microsoft:BiasSoftmax": bias_softmax}
