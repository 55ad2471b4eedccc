"""reshape, squeeze and unsqueeze of bound shapes become one reshape to a plain shape; global pools absorb theirs."""

from __future__ import annotations

from collections.abc import Sequence

from ..layers import kind_of
from ..net.dim import Expr, lowest
from ..net.net import Layer
from ._graph import Graph

order = 35
needs_shapes = True

_POOLS = ("global_average_pool", "global_max_pool")


def apply(graph: Graph) -> bool:
    """One sweep in order: a chain of reshapes ends as one, the rest is dead code."""
    changed = False
    for layer in graph.layers():
        if layer.epilogue or not layer.inputs or not graph.is_dynamic(layer.inputs[0]):
            continue
        if kind_of(layer.kind).view:
            changed |= _canonical(graph, layer)
    return changed


def reshape_to(shape: Sequence[int | str | Expr]) -> dict[str, object]:
    """Attributes of a reshape to a shape without zeros; a size that is open may turn out to be 0, which then means 0."""
    empty = any(isinstance(d, Expr) and lowest(d) < 1 for d in shape)
    return {"shape": tuple(shape), **({"allowzero": 1} if empty else {})}


def _canonical(graph: Graph, layer: Layer) -> bool:
    out = graph.specs.get(layer.outputs[0])
    if out is None or 0 in out.shape or len([v for v in layer.inputs if v]) != 1:
        return False
    attrs = reshape_to(out.shape)
    inputs = layer.inputs[:1]
    before = graph.bare_producer(inputs[0])
    if before is not None and not kind_of(before.kind).view:
        before = None
    if before is not None:
        inputs = before.inputs[:1]
    pool = graph.made_by(inputs[0], *_POOLS) if before is None else None
    if pool is not None and graph.private(inputs[0]):
        batch = graph.specs.get(pool.inputs[0])
        for keepdims, tail in ((1, (1, 1)), (0, ())):
            if batch is not None and out.shape == batch.shape[:2] + tail:
                graph.remove(pool)
                graph.replace(layer, pool.with_(outputs=layer.outputs, attrs={**pool.attrs, "keepdims": keepdims}))
                return True
    if layer.kind == "reshape" and dict(layer.attrs) == attrs and inputs == layer.inputs:
        return False
    graph.replace(layer, layer.with_(kind="reshape", inputs=inputs, attrs=attrs))
    return True
