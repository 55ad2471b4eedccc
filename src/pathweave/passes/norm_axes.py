"""Normalisations whose axes are the last ones say so by the first of them, as all others do."""

from __future__ import annotations

from ..layers import kind_of
from ..layers.normalise import normalised_axes
from ._graph import Graph

order = 90
needs_shapes = True
#: Passes before go by the axes that a file states: what they make of them comes first.
last = True


def apply(graph: Graph) -> bool:
    """`axes` of layer_norm and rms_norm become `axis`."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in ("layer_norm", "rms_norm"):
            continue
        attrs, spec = kind_of(layer.kind).complete(layer.attrs), graph.specs.get(layer.inputs[0])
        if not attrs["axes"] or spec is None:
            continue
        axes = normalised_axes(attrs, spec.rank)
        if axes == tuple(range(spec.rank - len(axes), spec.rank)):
            graph.replace(layer, layer.with_(attrs={"axis": -len(axes), "epsilon": attrs["epsilon"]}))
            changed = True
    return changed
