"""x * sigmoid(alpha x) becomes swish, x * tanh(softplus(x)) mish, and log(1 + e^x) softplus."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._algebra import close, gate, polynomial
from ._graph import Graph

order = 32
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the values in between."""
    changed = False
    for layer in graph.layers():
        new = None
        if layer.kind == "log" and not layer.epilogue:
            new = _softplus(graph, layer)
        elif layer.kind == "where":
            new = _bounded(graph, layer)
        new = new or _gated(graph, layer)
        if new is not None:
            graph.replace(layer, new)
            changed = True
    return changed


def _softplus(graph: Graph, layer: Layer) -> Layer | None:
    """log(1 + e^x), which softplus computes without overflow."""
    total = graph.made_by(layer.inputs[0], "add") if graph.private(layer.inputs[0]) else None
    if total is None:
        return None
    for i in (0, 1):
        exponential = graph.made_by(total.inputs[i], "exp") if graph.private(total.inputs[i]) else None
        if exponential is not None and graph.scalar(total.inputs[1 - i], total) == 1:
            return layer.with_(kind="softplus", inputs=exponential.inputs, attrs={})
    return None


#: From here on softplus(x) is x in float32, and in float64
_FAR, _FAR_DOUBLE = 16.7, 36.8


def _bounded(graph: Graph, layer: Layer) -> Layer | None:
    """softplus(x) where x is not far above 0, x elsewhere, which is softplus(x) to rounding in float32."""
    condition, x, value = layer.inputs
    softplus, far = graph.made_by(value, "softplus"), graph.made_by(condition, "greater")
    if softplus is None or far is None or softplus.inputs[0] != x or far.inputs[0] != x or not graph.private(value):
        return None
    limit = graph.scalar(far.inputs[1], far)
    if limit is None or limit < (_FAR_DOUBLE if isinstance(limit, np.float64) else _FAR):
        return None
    return layer.with_(kind="softplus", inputs=(x,), attrs={})


def _gated(graph: Graph, layer: Layer) -> Layer | None:
    for number, x, other in gate(graph, layer):
        inner = graph.made_by(other, "sigmoid", "tanh")
        if inner is None or not close(number, 1.0) or not graph.private(other) or not graph.private(inner.inputs[0]):
            continue
        if inner.kind == "tanh":
            softplus = graph.made_by(inner.inputs[0], "softplus")
            if softplus is not None and softplus.inputs[0] == x:
                return layer.with_(kind="mish", inputs=(x,), attrs={})
            continue
        found = polynomial(graph, inner.inputs[0], x)
        if found is not None and set(found) == {1} and not close(found[1], 1.0):
            return layer.with_(kind="swish", inputs=(x,), attrs={"alpha": float(found[1])})
    return None
