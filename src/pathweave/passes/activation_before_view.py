"""An activation behind a reshape, squeeze or unsqueeze of what a layer makes goes before it, where that layer can take it.

Convolutions over one axis are ones over two, between an unsqueeze and a squeeze: the views of neighbours meet then.
"""

from __future__ import annotations

from ..layers import kind_of
from ..layers.activation import Activation
from ._graph import Graph

order = 79
needs_shapes = False


def apply(graph: Graph) -> bool:
    """One step per activation; views only ever move down, so this ends."""
    changed = False
    for layer in graph.layers():
        if layer.epilogue or not isinstance(kind_of(layer.kind), Activation):
            continue
        viewed = layer.inputs[0]
        view = graph.bare_producer(viewed)
        if view is None or not kind_of(view.kind).view or not graph.private(viewed) or not graph.private(view.inputs[0]):
            continue
        source = view.inputs[0]
        host = graph.producer(source)
        if host is None or "act" not in kind_of(host.kind).epilogue or host.epilogue.act or viewed in graph.scales:
            continue
        inner = graph.fresh(f"{layer.outputs[0]}:viewed")
        before = layer.with_(inputs=(source, *layer.inputs[1:]), outputs=(inner,))
        behind = view.with_(inputs=(inner, *view.inputs[1:]), outputs=layer.outputs)
        graph.replace(layer, before)
        graph.remove(view)
        graph.replace(before, before, behind)
        changed = True
    return changed
