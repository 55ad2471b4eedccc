"""A dense layer whose output is split, and a part of it scaled or shifted by constants, becomes a dense layer for each part.

Simplifiers join the projections of queries, keys and values so, and leave their biases behind the split.
"""

from __future__ import annotations

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._affine import affine
from ._graph import Graph

order = 40
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the whole, and weights and bias are constants."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "split" or layer.epilogue or not graph.private(layer.inputs[0]):
            continue
        dense, spec = graph.made_by(layer.inputs[0], "dense"), graph.specs.get(layer.inputs[0])
        attrs = kind_of("split").complete(layer.attrs)
        if dense is None or spec is None or len(layer.inputs) > 1 or attrs["axis"] % spec.rank != spec.rank - 1:
            continue
        if any(_adjusted(graph, v) for v in layer.outputs):
            changed |= _divide(graph, layer, dense, tuple(attrs["sizes"]))
    return changed


def _adjusted(graph: Graph, part: str) -> bool:
    """True where the only thing that becomes of a part is a product or sum with constants."""
    user = graph.sole_consumer(part)
    found = affine(graph, user) if user is not None and graph.private(part) else None
    return found is not None and found.source == part


def _divide(graph: Graph, layer: Layer, dense: Layer, sizes: tuple[int, ...]) -> bool:
    arrays = [graph.constant(v) if v else None for v in dense.inputs[1:]]
    if arrays[0] is None or any(a is None and v for a, v in zip(arrays, dense.inputs[1:])) or min(sizes) < 1:
        return False
    parts, start = [], 0
    for i, (size, value) in enumerate(zip(sizes, layer.outputs)):
        constants = ["" if a is None else graph.add_constant(np.ascontiguousarray(a[start:start + size]), f"{value}:{word}")
                     for a, word in zip(arrays, ("weights", "bias"))]
        name = layer.name if i == 0 else graph.fresh_layer_name(f"{layer.name}_{i}")
        parts.append(Layer(name, "dense", (dense.inputs[0], *constants), (value,), dense.attrs))
        start += size
    graph.replace(layer, *parts)
    graph.remove(dense)
    return True
