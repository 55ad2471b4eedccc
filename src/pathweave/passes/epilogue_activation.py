"""An activation goes into the epilogue of the layer before it."""

from __future__ import annotations

from ..layers import kind_of
from ..net.net import Epilogue
from ._graph import Graph

order = 80
needs_shapes = False

HOSTS = frozenset(("conv2", "depthwise_conv2", "conv_transpose2", "dense", "add"))
ACTIVATIONS = frozenset(("relu", "clip", "leaky_relu", "sigmoid", "hard_sigmoid", "hard_swish", "silu", "gelu", "tanh",
                         "elu", "selu", "celu", "softplus", "softsign", "mish", "thresholded_relu"))


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the value before the activation."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in ACTIVATIONS or layer.epilogue:
            continue
        host = graph.producer(layer.inputs[0])
        if host is None or host.kind not in HOSTS or host.epilogue.act or not graph.private(layer.inputs[0]):
            continue
        kind = kind_of(layer.kind)
        attrs = kind.complete(layer.attrs)
        epilogue = Epilogue(host.epilogue.add, layer.kind, tuple(float(attrs[name]) for name in kind.attributes))
        graph.remove(host)
        graph.replace(layer, host.with_(outputs=layer.outputs, epilogue=epilogue))
        changed = True
    return changed
