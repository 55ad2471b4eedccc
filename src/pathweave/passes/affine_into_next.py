"""Multiply and add by constants in front of a convolution or dense layer go into its weights and bias."""

from __future__ import annotations

import numpy as np

from ..layers import Linear, kind_of
from ..net.net import Layer
from ._affine import Affine, affine, by_channel, centres, stored
from ._graph import Graph

order = 60
needs_shapes = True


def apply(graph: Graph) -> bool:
    """W (x * scale + shift) + b is (W * scale) x + (W shift + b); padding would see the shift, so it must be 0 then."""
    changed = False
    for layer in graph.layers():
        linear = kind_of(layer.kind).linear
        if linear is None or not linear.whole or not graph.private(layer.inputs[0]):
            continue
        before = graph.producer(layer.inputs[0])
        found = affine(graph, before) if before is not None else None
        same = found is not None and graph.specs.get(found.source) == graph.specs.get(layer.inputs[0], ())
        if before is not None and found is not None and same:
            changed |= _fold(graph, before, linear, layer, found)
    return changed


def _fold(graph: Graph, before: Layer, linear: Linear, layer: Layer, found: Affine) -> bool:
    w = graph.constant(layer.inputs[1])
    operands = layer.inputs[:-1] if layer.epilogue.add else layer.inputs
    has_bias = len(operands) > 2 and bool(operands[2])
    b = graph.constant(operands[2]) if has_bias else None
    spec = graph.specs[found.source]
    from_right = linear.channels
    if w is None or (has_bias and b is None) or spec.rank < from_right or w.dtype.kind != "f":
        return False
    channels = spec.sizes[-from_right]
    scale, shift = (by_channel(a, found.by_channel, channels, from_right, spec.rank) for a in found[1:3])
    if scale is None or shift is None or (np.any(shift != 0) and any(layer.attrs.get("pad", ()))):
        return False
    weights = w if np.all(scale == 1) else stored(linear.scale_inputs(layer.attrs, w, scale), w.dtype)
    bias = None
    if np.any(shift != 0):
        bias = stored(linear.response(layer.attrs, w, np.broadcast_to(shift, (channels,))) + (0.0 if b is None else b), w.dtype)
        if bias is None or centres(scale, shift):
            return False
    if weights is None:
        return False
    inputs = [found.source, layer.inputs[1]]
    if weights is not w:
        inputs[1] = graph.add_constant(weights, f"{layer.inputs[1]}:scaled")
    if bias is not None:
        inputs.append(graph.add_constant(bias, f"{layer.outputs[0]}:bias"))
    elif b is not None:
        inputs.append(operands[2])
    if layer.epilogue.add:
        inputs.append(layer.inputs[-1])
    graph.replace(layer, layer.with_(inputs=tuple(inputs)))
    graph.remove(before)
    return True
