"""Layers that can be seen to change nothing without knowing shapes go."""

from __future__ import annotations

import math

from ..net.net import Layer
from ._graph import Graph

order = 15
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Bypass them all: those inside of the net together, then those that make its outputs."""
    def found():
        return (layer for layer in graph.layers() if not layer.epilogue and _does_nothing(graph, layer))
    changed = graph.bypass_all([(layer, layer.inputs[0]) for layer in found() if not graph.is_output(layer.outputs[0])])
    for layer in found():
        changed |= graph.bypass(layer)
    return changed


def _does_nothing(graph: Graph, layer: Layer) -> bool:
    attrs = layer.attrs
    if len([v for v in layer.inputs if v]) != 1:
        return False
    if layer.kind == "identity":
        return True
    if layer.kind == "concat":
        return True
    if layer.kind == "transpose":
        return list(attrs["perm"]) == list(range(len(attrs["perm"])))
    if layer.kind == "pad":
        return bool(attrs.get("pads")) and not any(attrs["pads"])
    if layer.kind == "clip":
        return attrs.get("min", -math.inf) == -math.inf and attrs.get("max", math.inf) == math.inf
    return False
