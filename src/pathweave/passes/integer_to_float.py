"""A product of integers whose sums are cast to float32 and multiplied by a scale gives that itself, as dynamic quantisation has
it."""

from __future__ import annotations

from ..net.net import Layer
from ._graph import Graph

order = 2
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Scales are one number, or one for each column of constant weights."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in ("matmul_integer", "conv_integer") or layer.attrs.get("dtype", "i32") != "i32" or layer.epilogue:
            continue
        cast = _next(graph, layer.outputs[0], "cast")
        if cast is None or cast.attrs.get("dtype") != "f32" or cast.attrs.get("through") or cast.attrs.get("source"):
            continue
        mul = _next(graph, cast.outputs[0], "mul")
        if mul is None or len(set(mul.inputs)) < 2:
            continue
        scale = next(v for v in mul.inputs if v != cast.outputs[0])
        if not _fits(graph, layer, scale):
            continue
        inputs = [*layer.inputs, *[""] * (5 - len(layer.inputs)), scale]
        graph.remove(cast, layer)
        graph.replace(mul, mul.with_(kind=layer.kind, inputs=tuple(inputs), attrs={**layer.attrs, "dtype": "f32"}))
        changed = True
    return changed


def _next(graph: Graph, value: str, kind: str) -> Layer | None:
    user = graph.sole_consumer(value) if graph.private(value) else None
    return user if user is not None and user.kind == kind and not user.epilogue else None


def _fits(graph: Graph, layer: Layer, scale: str) -> bool:
    """Whether a factor is a scalar, or for a product of matrices one for each column; both by what makes it."""
    weights, of_matrices = graph.constant(layer.inputs[1]), layer.kind == "matmul_integer"
    parts = [scale]
    product = graph.made_by(scale, "mul")
    if product is not None:
        parts = list(product.inputs)
    for v in parts:
        array, maker = graph.constant(v), graph.made_by(v, "dynamic_scale")
        if maker is not None and maker.outputs[0] == v or array is not None and array.ndim == 0:
            continue
        if array is None or not of_matrices or array.ndim > 1 or weights is None or weights.ndim < 2:
            return False
        if array.size not in (1, weights.shape[-1]):
            return False
    return True
