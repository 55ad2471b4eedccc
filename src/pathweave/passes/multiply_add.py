"""Chains of multiply, add and batch norm by constants become one madd; a batch norm alone becomes one too."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._affine import affine, by_channel, cancels, centres, stored
from ._graph import Graph

order = 55
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Two at a time; a chain of any length ends as one."""
    changed = False
    for layer in graph.layers():
        changed |= _merge(graph, layer)
    return changed


def _vectors(graph: Graph, layer: Layer) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(source, scale, shift) of a layer as a madd could hold them; None where it cannot."""
    found = affine(graph, layer)
    spec = graph.specs.get(found.source) if found is not None else None
    # A constant that broadcasts the value to a larger shape is no madd.
    if found is None or spec is None or spec != graph.specs.get(layer.outputs[0]):
        return None
    channels, from_right = (spec.sizes[1], spec.rank - 1) if spec.rank > 1 else (1, 1)
    scale, shift = (by_channel(a, found.by_channel, channels, from_right, spec.rank) for a in found[1:3])
    if scale is None or shift is None or (spec.rank < 2 and (scale.ndim or shift.ndim)):
        return None
    return found.source, scale, shift


def _merge(graph: Graph, layer: Layer) -> bool:
    second = _vectors(graph, layer)
    if second is None:
        return False
    source, scale, shift = second
    before = graph.producer(source)
    first = _vectors(graph, before) if before is not None and graph.private(source) else None
    factors = [scale]
    if first is not None:
        moved = first[2] * scale
        if cancels(moved + shift, moved, shift) or centres(first[1], first[2], scale):
            return False
        source, shift = first[0], moved + shift
        factors.append(first[1])
        scale = first[1] * scale
    elif layer.kind != "batch_norm":
        return False
    dtype = graph.constants[next(v for v in layer.inputs if v in graph.constants)].dtype
    kept_scale, kept_shift = stored(scale, dtype, *factors), stored(shift, dtype)
    if kept_scale is None or kept_shift is None:
        return False
    inputs = [source, graph.add_constant(kept_scale, f"{layer.outputs[0]}:scale"),
              graph.add_constant(kept_shift, f"{layer.outputs[0]}:shift")]
    graph.replace(layer, layer.with_(kind="madd", inputs=tuple(inputs), attrs={}))
    if first is not None and before is not None:
        graph.remove(before)
    return True
