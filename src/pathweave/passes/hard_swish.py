"""clip(x + 3, 0, 6) / 6 becomes hard_sigmoid, x times that hard_swish, and a slope that is nearly a sixth becomes one."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._algebra import affine_of, close, gate, polynomial, product, same_polynomial
from ._graph import Graph

order = 32
needs_shapes = False

_ALPHA, _BETA = 1 / 6, 0.5


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the values in between."""
    changed = False
    for layer in graph.layers():
        x = _gated_by(graph, layer)
        if x is not None:
            graph.replace(layer, layer.with_(kind="hard_swish", inputs=(x,), attrs={}))
            changed = True
            continue
        x = layer.inputs[0] if _rounded(layer) else _hard_sigmoid_of(graph, layer)
        if x is not None:
            graph.replace(layer, layer.with_(kind="hard_sigmoid", inputs=(x,), attrs={"alpha": _ALPHA, "beta": _BETA}))
            changed = True
    return changed


def _rounded(layer: Layer) -> bool:
    """A hard_sigmoid whose slope is the float32 that is next to a sixth."""
    alpha, beta = layer.attrs.get("alpha", 0.2), layer.attrs.get("beta", 0.5)
    return layer.kind == "hard_sigmoid" and not layer.epilogue and alpha == float(np.float32(_ALPHA)) and beta == _BETA


def _gated_by(graph: Graph, layer: Layer) -> str | None:
    """x where the layer is x * hard_sigmoid(x) or x * clip(x + 3, 0, 6) / 6."""
    for number, x, other in gate(graph, layer):
        found = affine_of(graph, other, "hard_sigmoid", "clip")
        if found is None or found[2] != 0:
            continue
        inner, factor, _ = found
        if inner.kind == "hard_sigmoid":
            alpha, beta = inner.attrs.get("alpha", 0.2), inner.attrs.get("beta", 0.5)
            if inner.inputs[0] == x and close(alpha, _ALPHA) and close(beta, _BETA) and close(number * factor, 1.0):
                return x
        elif _shifted_clip(graph, inner, x) and close(number * factor, _ALPHA):
            return x
    return None


def _hard_sigmoid_of(graph: Graph, layer: Layer) -> str | None:
    """x where the layer is clip(x + 3, 0, 6) / 6."""
    found = product(graph, layer)
    if found is None or len(found[1]) != 1 or not close(found[0], _ALPHA) or not graph.private(found[1][0]):
        return None
    clip = graph.made_by(found[1][0], "clip")
    before = graph.bare_producer(clip.inputs[0]) if clip is not None else None
    if clip is None or before is None:
        return None
    return next((v for v in before.inputs if graph.is_dynamic(v) and _shifted_clip(graph, clip, v)), None)


def _shifted_clip(graph: Graph, clip: Layer, x: str) -> bool:
    return clip.attrs.get("min") == 0 and clip.attrs.get("max") == 6 and graph.private(clip.inputs[0]) and \
        same_polynomial(polynomial(graph, clip.inputs[0], x), {1: 1.0, 0: 3.0})
