"""A transpose that moves nothing but axes of size 1 becomes a reshape, once no other transpose can cancel it."""

from __future__ import annotations

from ._graph import Graph
from .reshape_chain import reshape_to

order = 90
needs_shapes = True
last = True


def apply(graph: Graph) -> bool:
    """The axes that are not of size 1 keep their order."""
    changed = False
    for layer in graph.layers():
        source = graph.specs.get(layer.inputs[0]) if layer.kind == "transpose" and not layer.epilogue else None
        if source is None or 0 in source.shape:
            continue
        perm = layer.attrs["perm"]
        kept = [p for p in perm if source.shape[p] != 1]
        if kept == sorted(kept):
            shape = tuple(source.shape[p] for p in perm)
            graph.replace(layer, layer.with_(kind="reshape", attrs=reshape_to(shape)))
            changed = True
    return changed
