"""Equal small constants become one, and of equal layers on equal inputs the first computes for all."""

from __future__ import annotations

from ..net.problem import attr_text
from ._graph import Graph

order = 25
needs_shapes = False

#: Larger constants are not compared: weights are hardly ever equal, and reading them takes time.
COMPARED_BYTES = 16 << 10


def apply(graph: Graph) -> bool:
    """Constants first, then one sweep over the layers in order."""
    changed = _merge_constants(graph)
    first = {}
    for layer in graph.layers():
        attrs = tuple(sorted((k, type(v).__name__, attr_text(v)) for k, v in layer.attrs.items()))
        key = (layer.kind, layer.inputs, attrs, layer.epilogue, len(layer.outputs))
        original = first.setdefault(key, layer)
        if original is layer or not graph.alive(original) or any(graph.is_output(v) for v in layer.outputs):
            continue
        for duplicate, value in zip(layer.outputs, original.outputs):
            graph.rename(duplicate, value)
        graph.remove(layer)
        changed = True
    return changed


def _merge_constants(graph: Graph) -> bool:
    first: dict[tuple, str] = {}
    changed = False
    for name, array in list(graph.constants.items()):
        if array.nbytes > COMPARED_BYTES or graph.is_output(name):
            continue
        original = first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        if original != name and graph.consumers(name):
            graph.rename(name, original)
            changed = True
    return changed
