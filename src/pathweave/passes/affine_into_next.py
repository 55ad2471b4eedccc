"""Multiply and add by constants in front of a convolution or dense layer go into its weights and bias."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._affine import affine, by_channel
from ._graph import Graph

order = 60
needs_shapes = True

#: Kind -> where the channels lie in the input, counted from the right
TARGETS = {"conv2": 3, "depthwise_conv2": 3, "dense": 1}


def apply(graph: Graph) -> bool:
    """W (x * scale + shift) + b is (W * scale) x + (W shift + b); padding would see the shift, so it must be 0 then."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in TARGETS or not graph.private(layer.inputs[0]):
            continue
        before = graph.producer(layer.inputs[0])
        found = affine(graph, before) if before is not None else None
        if found is not None and graph.specs.get(found.source) == graph.specs.get(layer.inputs[0], ()):
            changed |= _fold(graph, before, layer, found)
    return changed


def _fold(graph: Graph, before: Layer, layer: Layer, found) -> bool:
    w = graph.constant(layer.inputs[1])
    operands = layer.inputs[:-1] if layer.epilogue.add else layer.inputs
    has_bias = len(operands) > 2 and bool(operands[2])
    b = graph.constant(operands[2]) if has_bias else None
    spec = graph.specs[found.source]
    from_right = TARGETS[layer.kind]
    if w is None or (has_bias and b is None) or spec.rank < from_right or w.dtype.kind != "f":
        return False
    channels = spec.shape[-from_right]
    scale, shift = (by_channel(a, found.by_channel, channels, from_right, spec.rank) for a in found[1:3])
    if scale is None or shift is None or (np.any(shift != 0) and any(layer.attrs.get("pad", ()))):
        return False
    inputs = [found.source, layer.inputs[1]]
    if not np.all(scale == 1):
        inputs[1] = graph.add_constant(_scaled(layer, w, scale), f"{layer.inputs[1]}:scaled")
    if np.any(shift != 0):
        bias = _response(layer, w, np.broadcast_to(shift, (channels,))) + (0.0 if b is None else b)
        inputs.append(graph.add_constant(bias.astype(w.dtype), f"{layer.outputs[0]}:bias"))
    elif b is not None:
        inputs.append(operands[2])
    if layer.epilogue.add:
        inputs.append(layer.inputs[-1])
    graph.replace(layer, layer.with_(inputs=tuple(inputs)))
    graph.remove(before)
    return True


def _by_input_channel(layer: Layer, w: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector over input channels, shaped so that it broadcasts over [groups, O/groups, C/groups, kh, kw]."""
    groups = layer.attrs.get("groups", 1) if layer.kind == "conv2" else w.shape[0]
    return vector.reshape(groups, 1, -1, 1, 1)


def _grouped(layer: Layer, w: np.ndarray) -> np.ndarray:
    groups = layer.attrs.get("groups", 1) if layer.kind == "conv2" else w.shape[0]
    return w.reshape(groups, -1, *w.shape[1:])


def _scaled(layer: Layer, w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    factor = scale.astype(w.dtype)
    if factor.ndim == 0 or layer.kind == "dense":
        return w * factor
    return (_grouped(layer, w) * _by_input_channel(layer, w, factor)).reshape(w.shape)


def _response(layer: Layer, w: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What the weights make of the shift alone, per output channel, float64."""
    if layer.kind == "dense":
        return w.astype(np.float64) @ shift
    return (_grouped(layer, w.astype(np.float64)) * _by_input_channel(layer, w, shift)).sum((2, 3, 4)).reshape(-1)
