"""Equal small constants become one, and of equal layers on equal inputs the first computes for all."""

from __future__ import annotations

from ..net.net import Layer
from ..net.problem import attr_text
from ._graph import Graph

order = 25
needs_shapes = False

#: Larger constants are not compared: weights are hardly ever equal, and reading them takes time.
COMPARED_BYTES = 16 << 10


def apply(graph: Graph) -> bool:
    """Constants first, then one sweep over the layers in order."""
    changed = _merge_constants(graph)
    first: dict[tuple, Layer] = {}
    names: dict[str, str] = {}  # output of a duplicate -> that of the layer that stays
    duplicates = []
    for layer in graph.layers():
        attrs = tuple(sorted((k, type(v).__name__, attr_text(v)) for k, v in layer.attrs.items()))
        inputs = tuple(names.get(v, v) for v in layer.inputs)
        original = first.setdefault((layer.kind, inputs, attrs, layer.epilogue, len(layer.outputs)), layer)
        if original is not layer and not any(graph.is_output(v) for v in layer.outputs):
            names.update(zip(layer.outputs, original.outputs))
            duplicates.append(layer.name)
    graph.rename(names)
    graph.remove(*map(graph.layer, duplicates))
    return changed or bool(duplicates)


def _merge_constants(graph: Graph) -> bool:
    first: dict[tuple, str] = {}
    names: dict[str, str] = {}
    for name, array in list(graph.constants.items()):
        if array.nbytes > COMPARED_BYTES or graph.is_output(name):
            continue
        original = first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        if original != name and graph.used(name):
            names[name] = original
    graph.rename(names)
    return bool(names)
