"""Layers whose results nobody uses, and constants that nobody uses, go."""

from __future__ import annotations

from ._graph import Graph

order = 0
needs_shapes = False


def apply(graph: Graph) -> bool:
    """One sweep from the end, so that whole dead chains go at once."""
    changed = False
    for layer in reversed(list(graph.layers())):
        if not any(graph.is_output(v) or graph.used(v) for v in layer.outputs):
            graph.remove(layer)
            changed = True
    return graph.prune_constants() or changed
