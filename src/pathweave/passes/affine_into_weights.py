"""Batch norm, multiply and add by constants after a convolution or dense layer go into its weights and bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..layers import Linear, kind_of
from ..net.net import Epilogue, Layer
from ._affine import Affine, affine, by_channel, cancels, stored
from ._graph import Graph

order = 45
needs_shapes = False


def apply(graph: Graph) -> bool:
    """y = (W x + b) * scale + shift is (W * scale) x + (b * scale + shift); behind a residual, a shift alone can go in."""
    changed = False
    for layer in graph.layers():
        found = None if layer.epilogue.add else affine(graph, layer.with_(epilogue=Epilogue()))
        maker = graph.producer(found.source) if found is not None else None
        linear = kind_of(maker.kind).linear if maker is not None else None
        if found is not None and maker is not None and linear is not None and not maker.epilogue.act and \
                graph.private(found.source):
            changed |= _fold(graph, maker, linear, layer, found)
    return changed


def _fold(graph: Graph, maker: Layer, linear: Linear, layer: Layer, found: Affine) -> bool:
    w = graph.constant(maker.inputs[1])
    operands = maker.inputs[:-1] if maker.epilogue.add else maker.inputs
    has_bias = len(operands) > 2 and bool(operands[2])
    b = graph.constant(operands[2]) if has_bias else None
    if w is None or (has_bias and b is None) or (maker.epilogue.add and not np.all(found.scale == 1)):
        return False
    channels = linear.output_channels(maker.attrs, w)
    spec = graph.specs.get(found.source)
    rank = linear.rank or (spec.rank if spec is not None else None)
    scale, shift = (by_channel(a, found.by_channel, channels, linear.channels, rank) for a in found[1:3])
    if scale is None or shift is None:
        return False
    weights = w if np.all(scale == 1) else stored(linear.scale_outputs(maker.attrs, w, scale), w.dtype)
    moved = (0.0 if b is None else b.astype(np.float64)) * scale
    bias = stored(np.broadcast_to(moved + shift, (channels,)), w.dtype)
    if weights is None or bias is None or cancels(moved + shift, moved, shift):
        return False
    inputs = [maker.inputs[0], maker.inputs[1]]
    if weights is not w:
        inputs[1] = graph.add_constant(weights, f"{maker.inputs[1]}:scaled")
    if b is not None or np.any(shift != 0):
        inputs.append(graph.add_constant(bias, f"{layer.outputs[0]}:bias"))
    if maker.epilogue.add:
        inputs.append(maker.inputs[-1])
    graph.remove(maker)
    epilogue = replace(layer.epilogue, add=maker.epilogue.add)
    graph.replace(layer, maker.with_(inputs=tuple(inputs), outputs=layer.outputs, epilogue=epilogue))
    return True
