"""Layers that can be seen to change nothing without knowing shapes go."""

from __future__ import annotations

from typing import Any

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

order = 15
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Bypass them all: those inside of the net together, then those that make its outputs."""
    def found() -> Any:
        return (layer for layer in graph.layers() if not layer.epilogue and _does_nothing(layer))
    changed = graph.bypass_all([(layer, layer.inputs[0]) for layer in found() if not graph.is_output(layer.outputs[0])])
    for layer in found():
        changed |= graph.bypass(layer)
    return changed


def _does_nothing(layer: Layer) -> bool:
    return len([v for v in layer.inputs if v]) == 1 and kind_of(layer.kind).hands_on(layer.attrs, False)
