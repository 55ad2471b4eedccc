"""conv2 with one filter per channel becomes depthwise_conv2."""

from __future__ import annotations

from ._graph import Graph

order = 30
needs_shapes = False


def apply(graph: Graph) -> bool:
    """groups == C == O, and more than one of them."""
    changed = False
    for layer in graph.layers():
        groups = layer.attrs.get("groups", 1)
        w = graph.constant(layer.inputs[1]) if layer.kind == "conv2" else None
        if w is None or groups < 2 or w.ndim != 4 or w.shape[:2] != (groups, 1):
            continue
        attrs = {k: v for k, v in layer.attrs.items() if k != "groups"}
        graph.replace(layer, layer.with_(kind="depthwise_conv2", attrs=attrs))
        changed = True
    return changed
