"""First states of a recurrent layer that are constants of zeros go: without them the layer begins with zeros."""

from __future__ import annotations

from ..layers import kind_of
from ._graph import Graph

order = 21
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Where a state has the shape that the layer expects, which shape inference has checked."""
    changed = False
    for layer in graph.layers():
        states = kind_of(layer.kind).zero_states
        if not any(_is_zero(graph, layer.inputs[i]) for i in states if i < len(layer.inputs)):
            continue
        if layer.outputs[0] not in graph.specs:
            continue
        inputs = ["" if i in states and _is_zero(graph, v) else v for i, v in enumerate(layer.inputs)]
        while not inputs[-1]:
            inputs.pop()
        graph.replace(layer, layer.with_(inputs=tuple(inputs)))
        changed = True
    return changed


def _is_zero(graph: Graph, value: str) -> bool:
    array = graph.constant(value) if value else None
    return array is not None and not array.any()
