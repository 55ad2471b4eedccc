"""(x - mean x) / sqrt(mean (x - mean x)^2 + epsilon) becomes layer_norm, and x / sqrt(mean x^2 + epsilon) rms_norm.

Casts that round to 16 bits in between go: what is fused is computed in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..net.net import Layer
from ._algebra import close, seen_through
from ._graph import Graph

order = 24
needs_shapes = False


class _Root(NamedTuple):
    """sqrt(mean of squares of `value` over `axes` + epsilon)."""

    value: str
    axes: tuple[int, ...]
    epsilon: float


def apply(graph: Graph) -> bool:
    """Every quotient by such a root, and TensorFlow's x * r + (bias - mean x * r), where r is the root's inverse."""
    changed = False
    for layer in graph.layers():
        new = None
        if layer.kind == "add" and not layer.epilogue:
            new = _distributed(graph, layer)
        elif layer.kind in ("div", "mul") and not layer.epilogue:
            new = _quotient(graph, layer)
        if new is not None:
            graph.replace(layer, new)
            changed = True
    return changed


def _made_by(graph: Graph, value: str, *kinds: str) -> Layer | None:
    return graph.made_by(seen_through(graph, value), *kinds)


def _power(graph: Graph, layer: Layer) -> float | None:
    """The exponent of a `pow` by a number."""
    return graph.scalar(layer.inputs[1], layer) if layer.kind == "pow" else None


def _root(graph: Graph, value: str, exponent: float) -> _Root | None:
    """The root where the value is (mean of squares + epsilon) to 0.5 or -0.5, spelled in any way."""
    layer = graph.bare_producer(seen_through(graph, value))
    if layer is None:
        return None
    if layer.kind == "reciprocal":
        return _root(graph, layer.inputs[0], -exponent) if exponent < 0 else None
    if layer.kind == "div":
        one = graph.scalar(layer.inputs[0], layer)
        return _root(graph, layer.inputs[1], -exponent) if exponent < 0 and one == 1 else None
    if exponent != (0.5 if layer.kind == "sqrt" else _power(graph, layer)):
        return None
    total = _made_by(graph, layer.inputs[0], "add")
    if total is None:
        return None
    for mean, number in ((0, 1), (1, 0)):
        epsilon = graph.scalar(total.inputs[number], total)
        found = _mean(graph, total.inputs[mean])
        squared = _squared(graph, found[0]) if epsilon is not None and found is not None else None
        if squared is not None and found is not None and epsilon is not None:
            return _Root(squared, found[1], float(epsilon))
    return None


def _mean(graph: Graph, value: str) -> tuple[str, tuple[int, ...]] | None:
    """(x, axes) where a value is the mean of x over axes, which stay with length 1."""
    layer = _made_by(graph, value, "reduce", "global_average_pool")
    if layer is None or layer.attrs.get("keepdims", 1) != 1:
        return None
    if layer.kind == "global_average_pool":
        return layer.inputs[0], (2, 3)
    axes = tuple(layer.attrs.get("axes") or ())
    return (layer.inputs[0], axes) if layer.attrs["op"] == "mean" and axes else None


def _squared(graph: Graph, value: str) -> str | None:
    """What a value is the square of."""
    layer = _made_by(graph, value, "mul", "pow")
    if layer is None:
        return None
    base = seen_through(graph, layer.inputs[0])
    if layer.kind == "mul":
        return base if seen_through(graph, layer.inputs[1]) == base and graph.is_dynamic(base) else None
    exponent = _power(graph, layer)
    return base if exponent is not None and close(float(exponent), 2.0) else None


def _centred(graph: Graph, value: str, axes: tuple[int, ...]) -> str | None:
    """x where a value is x - mean x over the axes."""
    layer = graph.made_by(value, "sub")
    mean = _mean(graph, layer.inputs[1]) if layer is not None else None
    if layer is None or mean is None or mean[1] != axes:
        return None
    x = layer.inputs[0]
    return x if seen_through(graph, mean[0]) == seen_through(graph, x) else None


def _attrs(root: _Root) -> dict[str, Any]:
    """Attributes of the normalisation: the last axes are told by the first of them."""
    if sorted(root.axes) == list(range(-len(root.axes), 0)):
        return {"axis": min(root.axes), "epsilon": root.epsilon}
    return {"axes": tuple(sorted(root.axes)), "epsilon": root.epsilon}


def _quotient(graph: Graph, layer: Layer) -> Layer | None:
    a, b = layer.inputs
    operands = [(a, b, 0.5)] if layer.kind == "div" else [(a, b, -0.5), (b, a, -0.5)]
    for above, below, exponent in operands:
        root = _root(graph, below, exponent)
        value = seen_through(graph, above)
        if root is None or root.value != value:
            continue
        x = _centred(graph, value, root.axes)
        if x is not None:
            return layer.with_(kind="layer_norm", inputs=(x,), attrs=_attrs(root))
        return layer.with_(kind="rms_norm", inputs=(above,), attrs=_attrs(root))
    return None


def _distributed(graph: Graph, layer: Layer) -> Layer | None:
    """x * r + (bias - mean x * r), with r = 1 / root or that times a scale; scale and bias are vectors along the last axis."""
    for first, second in (layer.inputs, layer.inputs[::-1]):
        product, rest = _made_by(graph, first, "mul"), _made_by(graph, second, "sub")
        if product is None or rest is None:
            continue
        other = _made_by(graph, rest.inputs[1], "mul")
        bias = graph.constant(rest.inputs[0])
        if other is None or bias is None or bias.ndim > 1:
            continue
        for x, inverse in (product.inputs, product.inputs[::-1]):
            factor, scale = _scaled(graph, inverse)
            root = _root(graph, factor, -0.5)
            mean = next((v for v, r in (other.inputs, other.inputs[::-1]) if r == inverse), None)
            if root is None or mean is None:
                continue
            centred, average, bare = _centred(graph, root.value, root.axes), _mean(graph, mean), seen_through(graph, x)
            if centred is not None and seen_through(graph, centred) == bare and average is not None and \
                    average[1] == root.axes and seen_through(graph, average[0]) == bare:
                return layer.with_(kind="layer_norm", inputs=(x, scale, rest.inputs[0]), attrs=_attrs(root))
    return None


def _scaled(graph: Graph, value: str) -> tuple[str, str]:
    """(value, "") or, where it is a product with a vector that is a constant, (the other factor, that constant)."""
    layer = _made_by(graph, value, "mul")
    if layer is None:
        return value, ""
    for a, b in (layer.inputs, layer.inputs[::-1]):
        array = graph.constant(b)
        if array is not None and array.ndim == 1:
            return a, b
    return value, ""
