"""Layers that change nothing for the bound shapes go: a reshape to the same shape, a sum with zero, ..."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._affine import affine
from ._graph import Graph

order = 20
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Bypass them all: those inside of the net together, then those that make its outputs."""
    changed = graph.bypass_all([pair for pair in _found(graph) if not graph.is_output(pair[0].outputs[0])])
    for layer, source in _found(graph):
        changed |= graph.bypass(layer, source)
    return changed


def _found(graph: Graph) -> Iterator[tuple[Layer, str]]:
    """Each such layer, with the value that it hands on."""
    for layer in graph.layers():
        if layer.epilogue or len(layer.outputs) != 1:
            continue
        source = _source_of_nothing(graph, layer)
        if source is not None and graph.specs.get(source) == graph.specs.get(layer.outputs[0], ()):
            yield layer, source


def _source_of_nothing(graph: Graph, layer: Layer) -> str | None:
    """The input that the layer's output equals when both have the same spec."""
    if len([v for v in layer.inputs if v]) == 1 and kind_of(layer.kind).hands_on(layer.attrs, True):
        return layer.inputs[0]
    found = affine(graph, layer)
    if found is not None and np.all(found.scale == 1) and np.all(found.shift == 0):
        return found.source
    return None
