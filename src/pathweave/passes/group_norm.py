"""Channels folded into groups, each group normalised, and the channels as before: that is group_norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import kind_of
from ..layers.normalise import normalised_axes
from ..net.net import Layer
from ._graph import Graph

order = 32.5
needs_shapes = True


def apply(graph: Graph) -> bool:
    """reshape to [N, groups, ...], a normalisation of every group, reshape back; only where nobody sees what is between."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "reshape" or layer.epilogue or not graph.private(layer.inputs[0]):
            continue
        norm = graph.made_by(layer.inputs[0], "instance_norm", "layer_norm")
        fold = graph.made_by(norm.inputs[0], "reshape") if norm is not None and graph.private(norm.inputs[0]) else None
        new = _group_norm(graph, layer, norm, fold) if norm is not None and fold is not None else None
        if norm is not None and fold is not None and new is not None:
            graph.replace(layer, new)
            graph.remove(norm)
            graph.remove(fold)
            changed = True
    return changed


def _group_norm(graph: Graph, layer: Layer, norm: Layer, fold: Layer) -> Layer | None:
    x, inner = graph.specs.get(fold.inputs[0]), graph.specs.get(norm.inputs[0])
    if x is None or inner is None or x != graph.specs.get(layer.outputs[0]) or x.rank < 2 or inner.rank < 3:
        return None
    channels, groups = x.dims[1], inner.dims[1]
    if not isinstance(channels, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        return None
    if x.dims[0] != inner.dims[0]:
        return None
    attrs: dict[str, Any] = {"groups": groups, "epsilon": kind_of(norm.kind).complete(norm.attrs)["epsilon"]}
    if norm.kind == "layer_norm":
        axes = normalised_axes(kind_of("layer_norm").complete(norm.attrs), inner.rank)
        if axes != tuple(range(2, inner.rank)) or any(norm.inputs[1:]):
            return None
        return layer.with_(kind="group_norm", inputs=fold.inputs[:1], attrs=attrs)
    parameters = []
    for i, neutral in ((1, 1), (2, 0)):
        name = norm.inputs[i] if i < len(norm.inputs) else ""
        array = graph.constant(name) if name else None
        if name and array is None:
            return None
        plain = array is None or bool(np.all(array == neutral))
        base = f"{layer.outputs[0]}:{'scale' if i == 1 else 'bias'}"
        parameters.append("" if plain or array is None else
                          graph.add_constant(np.repeat(array, channels // groups), base))
    inputs = [fold.inputs[0], *parameters]
    while not inputs[-1]:
        inputs.pop()
    return layer.with_(kind="group_norm", inputs=tuple(inputs), attrs=attrs)
