"""Slices that share a value out along one axis become one split."""

from __future__ import annotations

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

order = 37
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Two or more slices of one value, whose ranges meet without gaps and overlaps from the axis's start to its end."""
    changed = False
    for layer in graph.layers():
        if layer.kind == "slice" and (parts := _parts(graph, layer)):
            axis, slices, sizes = parts
            outputs = tuple(member.outputs[0] for member in slices)
            others = [member for member in slices if member.name != layer.name]
            graph.remove(*others)
            graph.replace(layer, Layer(layer.name, "split", layer.inputs[:1], outputs, {"axis": axis, "sizes": sizes}))
            changed = True
    return changed


def _parts(graph: Graph, layer: Layer) -> tuple[int, list[Layer], tuple[int, ...]] | None:
    """(axis, slices in order, their lengths) of what shares a value out; None where `layer` is not the first of such slices."""
    axis = (_range(graph, layer) or (-1, 0, 0))[0]
    found: dict[int, tuple[int, Layer]] = {}
    for user in graph.consumers(layer.inputs[0]):
        own = _range(graph, user)
        if own is None or own[0] != axis or graph.position(user) < graph.position(layer):
            continue
        if own[1] in found:
            return None
        found[own[1]] = own[2], user
    spec = graph.specs.get(layer.inputs[0])
    if axis < 0 or spec is None or len(found) < 2:
        return None
    starts = sorted(found)
    ends = [found[start][0] for start in starts]
    if starts != [0, *ends[:-1]] or ends[-1] != spec.dims[axis]:
        return None
    return axis, [found[start][1] for start in starts], tuple(end - start for start, end in zip(starts, ends))


def _range(graph: Graph, layer: Layer) -> tuple[int, int, int] | None:
    """(axis, first, end) of a slice of consecutive elements along one axis of known size; None for anything else."""
    spec = graph.specs.get(layer.inputs[0]) if layer.inputs else None
    if layer.kind != "slice" or layer.epilogue or spec is None or len([v for v in layer.inputs if v]) != 1:
        return None
    attrs = kind_of("slice").complete(layer.attrs)
    if len(attrs["starts"]) != 1 or len(attrs["ends"]) != 1 or tuple(attrs["steps"]) not in ((), (1,)):
        return None
    axes = tuple(attrs["axes"]) or (0,)
    axis = axes[0] % spec.rank
    size, first, end = spec.dims[axis], attrs["starts"][0], attrs["ends"][0]
    if not (isinstance(size, int) and isinstance(first, int) and isinstance(end, int)):
        return None
    first, end = (min(max(i + size if i < 0 else i, 0), size) for i in (first, end))
    return (axis, first, end) if first < end else None
