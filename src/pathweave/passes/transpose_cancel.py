"""A transpose of a transpose becomes one, and none where the two cancel."""

from __future__ import annotations

from ._graph import Graph

order = 16
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Compose with the transpose in front, whoever else uses that; an identity is left to the pass `identity`."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "transpose" or layer.epilogue:
            continue
        before = graph.made_by(layer.inputs[0], "transpose")
        if before is None:
            continue
        first, second = before.attrs["perm"], layer.attrs["perm"]
        if not sorted(first) == sorted(second) == list(range(len(first))):
            continue
        graph.replace(layer, layer.with_(inputs=before.inputs, attrs={"perm": tuple(first[p] for p in second)}))
        changed = True
    return changed
