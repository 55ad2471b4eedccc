"""An activation goes into the epilogue of the layer before it."""

from __future__ import annotations

from ..layers import kind_of
from ..layers.activation import Activation
from ..net.net import Epilogue
from ._graph import Graph

order = 80
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the value before the activation."""
    changed = False
    for layer in graph.layers():
        kind = kind_of(layer.kind)
        if not isinstance(kind, Activation) or layer.epilogue:
            continue
        host = graph.producer(layer.inputs[0])
        if host is None or "act" not in kind_of(host.kind).epilogue or host.epilogue.act or \
                not graph.private(layer.inputs[0]):
            continue
        attrs = kind.complete(layer.attrs)
        epilogue = Epilogue(host.epilogue.add, layer.kind, tuple(float(attrs[name]) for name in kind.attributes))
        graph.remove(host)
        graph.replace(layer, host.with_(outputs=layer.outputs, epilogue=epilogue))
        changed = True
    return changed
