"""Equal small constants become one, and of equal layers on equal inputs the first computes for all."""

from __future__ import annotations

from ..net.net import Layer
from ..net.problem import attr_text
from ._graph import Graph

order = 25
needs_shapes = False

#: Larger constants are equal where they are one array: weights are hardly ever equal otherwise, and reading them takes time.
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
        if original is not layer and not any(graph.is_output(v) for v in layer.outputs) and \
                all(_same_scale(graph, a, b) for a, b in zip(layer.outputs, original.outputs)):
            names.update(zip(layer.outputs, original.outputs))
            duplicates.append(layer.name)
    graph.rename(names)
    graph.remove(*map(graph.layer, duplicates))
    return changed or bool(duplicates)


def _same_scale(graph: Graph, a: str, b: str) -> bool:
    """Whether equal values state no two scales: then one may stand for both."""
    return graph.scales.get(a, graph.scales.get(b)) == graph.scales.get(b, graph.scales.get(a))


def _merge_constants(graph: Graph) -> bool:
    first: dict[tuple, str] = {}
    names: dict[str, str] = {}
    for name, array in list(graph.constants.items()):
        if graph.is_output(name):
            continue
        key = (id(array),) if array.nbytes > COMPARED_BYTES else (array.dtype.str, array.shape, array.tobytes())
        original = first.setdefault(key, name)
        if original != name and graph.used(name) and _same_scale(graph, name, original):
            names[name] = original
    graph.rename(names)
    return bool(names)
