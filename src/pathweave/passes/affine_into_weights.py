"""Batch norm, multiply and add by constants after a convolution or dense layer go into its weights and bias."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._affine import KINDS, affine, by_channel
from ._graph import Graph

order = 45
needs_shapes = False

#: Kind -> (axis of the output channels in the weights, where the channels lie in the output, counted from the right)
TARGETS = {"conv2": (0, 3), "depthwise_conv2": (0, 3), "conv_transpose2": (1, 3), "dense": (0, 1)}


def apply(graph: Graph) -> bool:
    """y = (W x + b) * scale + shift is (W * scale) x + (b * scale + shift)."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in KINDS:
            continue
        found = affine(graph, layer)
        maker = graph.made_by(found.source, *TARGETS) if found is not None else None
        if maker is not None and graph.private(found.source):
            changed |= _fold(graph, maker, layer, found)
    return changed


def _fold(graph: Graph, maker: Layer, layer: Layer, found) -> bool:
    w = graph.constant(maker.inputs[1])
    has_bias = len(maker.inputs) > 2 and bool(maker.inputs[2])
    b = graph.constant(maker.inputs[2]) if has_bias else None
    if w is None or (has_bias and b is None):
        return False
    axis, from_right = TARGETS[maker.kind]
    groups = maker.attrs.get("groups", 1) if maker.kind == "conv_transpose2" else 1
    channels = w.shape[axis] * groups
    spec = graph.specs.get(found.source)
    rank = 4 if from_right == 3 else spec.rank if spec is not None else None
    scale, shift = (by_channel(a, found.by_channel, channels, from_right, rank) for a in found[1:3])
    if scale is None or shift is None:
        return False
    inputs = [maker.inputs[0], maker.inputs[1]]
    if not np.all(scale == 1):
        inputs[1] = graph.add_constant(scaled(w, scale, axis, groups), f"{maker.inputs[1]}:scaled")
    if b is not None or np.any(shift != 0):
        bias = np.broadcast_to((0.0 if b is None else b.astype(np.float64)) * scale + shift, (channels,))
        inputs.append(graph.add_constant(bias.astype(w.dtype), f"{layer.outputs[0]}:bias"))
    graph.remove(maker)
    graph.replace(layer, maker.with_(inputs=tuple(inputs), outputs=layer.outputs))
    return True


def scaled(w: np.ndarray, scale: np.ndarray, axis: int, groups: int = 1) -> np.ndarray:
    """Weights with every slice along `axis` multiplied by its factor, in the weights' precision.

    With `groups` the axis holds the channels of one group, and the groups lie along axis 0.
    """
    factor = scale.astype(w.dtype)
    if factor.ndim == 0:
        return w * factor
    if groups == 1:
        return w * factor.reshape([-1 if i == axis else 1 for i in range(w.ndim)])
    grouped = w.reshape(groups, -1, *w.shape[1:])
    return (grouped * factor.reshape(groups, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)
