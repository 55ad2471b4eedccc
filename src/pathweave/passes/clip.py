"""min(relu(x), number) becomes clip."""

from __future__ import annotations

from ._graph import Graph

order = 31
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the value in between, and the number is not below 0."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "minimum" or layer.epilogue:
            continue
        for value, number in (layer.inputs, layer.inputs[::-1]):
            relu, limit = graph.made_by(value, "relu"), graph.scalar(number, layer)
            if relu is not None and limit is not None and limit >= 0 and graph.private(value):
                graph.replace(layer, layer.with_(kind="clip", inputs=relu.inputs, attrs={"min": 0.0, "max": float(limit)}))
                graph.remove(relu)
                changed = True
                break
    return changed
