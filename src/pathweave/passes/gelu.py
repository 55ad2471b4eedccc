"""x * (1 + erf(x / sqrt 2)) / 2 becomes gelu, and so does its approximation by tanh."""

from __future__ import annotations

import math

from ._algebra import affine_of, close, gate, polynomial, same_polynomial
from ._graph import Graph

order = 32
needs_shapes = False

#: Source of the tanh form: Hendrycks and Gimpel 2016, arXiv 1606.08415
_CUBIC = 0.044715
_INSIDE = {"erf": {1: math.sqrt(0.5)}, "tanh": {1: math.sqrt(2 / math.pi), 3: math.sqrt(2 / math.pi) * _CUBIC}}


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the values in between."""
    changed = False
    for layer in graph.layers():
        for number, x, other in gate(graph, layer):
            kind = _matched(graph, number, x, other)
            if kind:
                attrs = {"approximate": int(kind == "tanh")}
                graph.replace(layer, layer.with_(kind="gelu", inputs=(x,), attrs=attrs))
                changed = True
                break
    return changed


def _matched(graph: Graph, number: float, x: str, other: str) -> str:
    """Which function's gelu number * x * other is, or ""."""
    found = affine_of(graph, other, "erf", "tanh")
    if found is None:
        return ""
    inner, scale, shift = found
    half = close(number * scale, 0.5) and close(number * shift, 0.5)
    inside = polynomial(graph, inner.inputs[0], x)
    return inner.kind if half and same_polynomial(inside, _INSIDE[inner.kind]) else ""
