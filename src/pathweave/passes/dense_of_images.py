"""Dense layers on the channels of images of one pixel become 1x1 convolutions, where what they make is such an image again.

So is squeeze-and-excite written whose products are linear layers between two reshapes; behind this pass it is what its region
looks for.
"""

from __future__ import annotations

import numpy as np

from ..layers import kind_of
from ..layers._common import POINTWISE
from ..net.net import Layer
from ._graph import Graph

order = 36
needs_shapes = True


def apply(graph: Graph) -> bool:
    """From the last reshape back to the first, through layers of one input; only where nobody sees what is between."""
    changed = False
    for layer in graph.layers():
        out = graph.specs.get(layer.outputs[0])
        if layer.epilogue or not kind_of(layer.kind).view or out is None or out.rank != 4 or tuple(out.dims[2:]) != (1, 1):
            continue
        chain = _chain(graph, layer)
        if any(member.kind == "dense" for member in chain[1:]):
            _rewrite(graph, layer, chain)
            changed = True
    return changed


def _chain(graph: Graph, last: Layer) -> list[Layer]:
    """What lies between an image of one pixel and the last reshape, what makes the rows first; empty where there is none."""
    found: list[Layer] = []
    value = last.inputs[0]
    spec = graph.specs.get(value)
    while spec is not None and spec.rank == 2 and graph.private(value):
        layer = graph.producer(value)
        if layer is None or layer.epilogue.add:
            return []
        found.append(layer)
        if _makes_rows(graph, layer):
            return found[::-1]
        kind = kind_of(layer.kind)
        one = len(layer.inputs) == 1 and kind.elementwise
        if not one and not (layer.kind == "dense" and all(not v or graph.constant(v) is not None for v in layer.inputs[1:])):
            return []
        value = layer.inputs[0]
        spec = graph.specs.get(value)
    return []


def _makes_rows(graph: Graph, layer: Layer) -> bool:
    """A mean of images that leaves no axes of space, or a view of images of one pixel."""
    if layer.epilogue:
        return False
    if layer.kind == "global_average_pool":
        return not layer.attrs.get("keepdims", 1)
    spec, out = graph.specs.get(layer.inputs[0]) if layer.inputs else None, graph.specs.get(layer.outputs[0])
    return kind_of(layer.kind).view and spec is not None and out is not None and spec.dims == (*out.dims, 1, 1)


def _rewrite(graph: Graph, last: Layer, chain: list[Layer]) -> None:
    first, *rest = chain
    value = first.inputs[0]
    graph.remove(last)
    if first.kind == "global_average_pool":
        value = graph.fresh(f"{first.outputs[0]}:image")
        graph.replace(first, first.with_(outputs=(value,), attrs={**first.attrs, "keepdims": 1}))
    for i, layer in enumerate(rest):
        made = last.outputs[0] if i + 1 == len(rest) else graph.fresh(f"{layer.outputs[0]}:image")
        if layer.kind == "dense":
            w = graph.constants[layer.inputs[1]]
            weights = graph.add_constant(np.ascontiguousarray(w.reshape(*w.shape, 1, 1)), f"{layer.inputs[1]}:image")
            new = layer.with_(kind="conv2", inputs=(value, weights, *layer.inputs[2:]), outputs=(made,), attrs=dict(POINTWISE))
        else:
            new = layer.with_(inputs=(value,), outputs=(made,))
        graph.replace(layer, new)
        value = made
