"""Inputs that hold shapes or sizes and are constants become attributes."""

from __future__ import annotations

from ..meaning.partial import resolve
from ._graph import Graph

order = 5
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Resolve every layer that has such inputs."""
    changed = False
    for layer in graph.layers():
        resolved = resolve(layer, graph.constants)
        if resolved is not layer:
            graph.replace(layer, resolved)
            changed = True
    return changed
