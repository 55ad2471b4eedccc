"""x * sigmoid(x) becomes silu, and so does swish whose alpha is 1."""

from __future__ import annotations

from ..layers import kind_of
from ._algebra import close, gate
from ._graph import Graph

order = 32
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the sigmoid."""
    changed = False
    for layer in graph.layers():
        if layer.kind == "swish" and kind_of("swish").complete(layer.attrs)["alpha"] == 1:
            graph.replace(layer, layer.with_(kind="silu", attrs={}))
            changed = True
            continue
        for number, x, other in gate(graph, layer):
            sigmoid = graph.made_by(other, "sigmoid")
            if sigmoid is not None and sigmoid.inputs[0] == x and close(number, 1.0) and graph.private(other):
                graph.replace(layer, layer.with_(kind="silu", inputs=(x,), attrs={}))
                changed = True
                break
    return changed
