"""Dense layers on rows of a folded value work on the value itself, where the fold is undone behind them.

Simplifiers write a product of rank 3 and its bias as reshape to a matrix, product with bias, reshape back; behind this pass the
activation and the residual that follow are next to the product again.
"""

from __future__ import annotations

from ..layers import kind_of
from ..net.dim import Expr
from ..net.net import Layer
from ._graph import Graph
from .reshape_chain import reshape_to

order = 34
needs_shapes = True


def apply(graph: Graph) -> bool:
    """From the last reshape back to the first, through dense layers and element-wise ones; only where nobody sees the rows."""
    changed = False
    for layer in graph.layers():
        if not _is_view(layer) or not graph.private(layer.inputs[0]):
            continue
        chain = _chain(graph, layer)
        if any(member.kind == "dense" for member in chain[1:]):
            _rewrite(graph, layer, chain)
            changed = True
    return changed


def _is_view(layer: Layer) -> bool:
    return bool(layer.inputs) and not layer.epilogue and kind_of(layer.kind).view and len([v for v in layer.inputs if v]) == 1


def _chain(graph: Graph, last: Layer) -> list[Layer]:
    """The layers between two reshapes, the first reshape included; empty where it is none that keeps the last axis."""
    found: list[Layer] = []
    value = last.inputs[0]
    while True:
        spec, layer = graph.specs.get(value), graph.producer(value)
        if spec is None or spec.rank != 2 or layer is None or value in graph.scales or graph.is_output(value):
            return []
        found.append(layer)
        if _is_view(layer):
            return found[::-1] if _lead(graph, layer, last) is not None else []
        before = _source(graph, layer) if graph.private(value) else ""
        if not before:
            return []
        value = before


def _lead(graph: Graph, first: Layer, last: Layer) -> tuple[int | Expr, ...] | None:
    """The axes before the last one that the rows are folded from, or to; None where neither reshape keeps the last axis."""
    for value, folded in ((first.inputs[0], first.outputs[0]), (last.outputs[0], last.inputs[0])):
        spec, rows = graph.specs.get(value), graph.specs.get(folded)
        if spec is None or rows is None or spec.rank < 3 or 0 in spec.dims or spec.dims[-1] != rows.dims[1]:
            continue
        if isinstance(rows.dims[1], int) and not (spec.rank == 4 and spec.dims[1:3] == (1, 1)):  # images of one pixel are rows
            return spec.dims[:-1]
    return None


def _source(graph: Graph, layer: Layer) -> str:
    """The value whose rows a layer reads one by one; "" for layers that do more."""
    if layer.epilogue.add or len(layer.outputs) != 1:
        return ""
    if layer.kind == "dense":
        return layer.inputs[0] if all(not v or graph.constant(v) is not None for v in layer.inputs[1:]) else ""
    kind = kind_of(layer.kind)
    if len(layer.inputs) == 1:
        return layer.inputs[0] if kind.elementwise else ""
    if kind.formula is None or layer.epilogue:  # arithmetic, whose constants may lie along the rows
        return ""
    dynamic = [v for v in layer.inputs if graph.is_dynamic(v)]
    arrays = [a for v in layer.inputs if (a := graph.constant(v)) is not None]
    return dynamic[0] if len(dynamic) == 1 and all(a.ndim < 2 for a in arrays) else ""


def _rewrite(graph: Graph, last: Layer, chain: list[Layer]) -> None:
    first, *rest = chain
    lead, old, value = _lead(graph, first, last), first.outputs[0], first.inputs[0]
    shape = (*(lead or ()), graph.specs[old].dims[1])
    if graph.specs[value].dims != shape:
        value = graph.fresh(f"{old}:unfolded")
        name = graph.fresh_layer_name(f"{first.name}_unfolded")
        graph.replace(first, first, Layer(name, "reshape", first.inputs[:1], (value,), reshape_to(shape)))
    for layer in rest:
        made = graph.fresh(f"{layer.outputs[0]}:unfolded")
        inputs = tuple(value if v == old else v for v in layer.inputs)
        old = layer.outputs[0]
        graph.replace(layer, layer.with_(inputs=inputs, outputs=(made,)))
        value = made
    graph.replace(last, last.with_(kind="reshape", inputs=(value,), attrs=reshape_to(graph.specs[last.outputs[0]].shape)))
