"""A residual add goes into the epilogue of the convolution or dense layer before it."""

from __future__ import annotations

from ..layers import kind_of
from ..net.net import Epilogue, Layer
from ._graph import Graph

order = 85
needs_shapes = True


def apply(graph: Graph) -> bool:
    """y = act(conv + residual), with no broadcasting, where nobody else sees the convolution's own result."""
    changed = False
    depths: dict[str, int] = {}
    for layer in graph.layers():
        depths.update(dict.fromkeys(layer.outputs, 1 + max((depths.get(v, 0) for v in layer.inputs), default=0)))
        if layer.kind != "add" or layer.epilogue.add:
            continue
        # Of two hosts the one with more layers before it: the order in which a file lists both says nothing.
        hosts = [(depths.get(layer.inputs[i], 0), graph.position(h), i, h) for i, h in _hosts(graph, layer)]
        if not hosts:
            continue
        _, _, index, host = max(hosts, key=lambda h: h[:2])
        residual = layer.inputs[1 - index]
        graph.remove(host)
        graph.replace(layer, host.with_(inputs=(*host.inputs, residual), outputs=layer.outputs,
                                        epilogue=Epilogue(True, layer.epilogue.act, layer.epilogue.params)))
        changed = True
    return changed


def _hosts(graph: Graph, layer: Layer) -> list[tuple[int, Layer]]:
    """(input index, layer) of what could take the add."""
    a, b = layer.inputs
    spec = graph.specs.get(a)
    if spec is None or spec != graph.specs.get(b) or not graph.is_dynamic(a) or not graph.is_dynamic(b):
        return []
    found = []
    for i, value in enumerate((a, b)):
        host = graph.producer(value)
        if host is not None and "add" in kind_of(host.kind).epilogue and not host.epilogue and graph.private(value):
            found.append((i, host))
    return found
