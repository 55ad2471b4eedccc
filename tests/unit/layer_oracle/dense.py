"""Matrix products."""

from __future__ import annotations


def _dense(g, case, a, names):
    product = g.node("MatMul", [names[0], *g.node("Transpose", [names[1]], perm=[1, 0])])
    return g.node("Add", [*product, names[2]]) if len(names) > 2 else product


OPERATORS = {"dense": _dense, "matmul": "MatMul"}
