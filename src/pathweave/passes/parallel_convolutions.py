"""Convolutions of one image that are added up become one, with the image itself and affine maps of it.

RepVGG, MobileOne and others are trained with such branches, and exported with them where nobody joined them before. Source:
Ding et al. 2021, arXiv 2101.03697.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..layers import Linear, kind_of
from ..net.net import Layer
from ._affine import Affine, affine, by_channel, cancels, stored
from ._graph import Graph

order = 48
needs_shapes = False


class _Filter(NamedTuple):
    """A convolution with constant weights. `bias`: [O] or [], float64."""

    source: str
    layer: Layer
    linear: Linear
    attrs: Mapping[str, Any]
    weights: np.ndarray
    bias: np.ndarray

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.weights.shape[2:]

    @property
    def groups(self) -> int:
        return self.linear.groups(self.attrs, self.weights)

    def seen(self, axis: int) -> list[int]:
        """Which elements of an axis the first output sees through each tap; below 0 in the padding."""
        return [tap * self.attrs["dilation"][axis] - self.attrs["pad"][axis] for tap in range(self.kernel[axis])]

    def shrinks(self) -> list[int]:
        """By how much each axis is shorter behind a stride of 1."""
        pad, axes = self.attrs["pad"], len(self.kernel)
        return [(n - 1) * self.attrs["dilation"][i] - pad[i] - pad[axes + i] for i, n in enumerate(self.kernel)]


class _Map(NamedTuple):
    """The image itself, without a layer, or an affine map of it."""

    source: str
    layer: Layer | None
    affine: Affine


def apply(graph: Graph) -> bool:
    """a(x) + b(x) and a(x) - b(x), where the weights of one have room for those of the other: no product comes on top."""
    changed = False
    for layer in graph.layers():
        if layer.kind in ("add", "sub") and not layer.epilogue.add:
            changed |= any(_join(graph, layer, a, b) for a, b in product(*(_branches(graph, v) for v in layer.inputs)))
    return changed


def _branches(graph: Graph, value: str) -> list[_Filter | _Map]:
    """What a value is of an image, that of which it is a filter or map first. Nobody else may see what is taken apart."""
    itself = _Map(value, None, Affine(value, np.ones(()), np.zeros(()), True))
    layer = graph.bare_producer(value) if graph.private(value) else None
    if layer is None:
        return [itself]
    linear = kind_of(layer.kind).linear
    if linear is None:
        found = affine(graph, layer)
        return [itself] if found is None else [_Map(found.source, layer, found), itself]
    attrs = kind_of(layer.kind).complete(layer.attrs)
    arrays = [graph.constant(v) if v else np.zeros(()) for v in layer.inputs[1:]]
    w, b = arrays[0], arrays[1] if len(arrays) > 1 else np.zeros(())
    if w is None or b is None or w.ndim != linear.rank or w.dtype.kind != "f" or not linear.whole or "stride" not in attrs:
        return [itself]
    return [_Filter(layer.inputs[0], layer, linear, attrs, w, b.astype(np.float64)), itself]


def _join(graph: Graph, layer: Layer, a: _Filter | _Map, b: _Filter | _Map) -> bool:
    if a.source != b.source:
        return False
    sign = -1.0 if layer.kind == "sub" else 1.0
    for host, guest, own, others in ((a, b, 1.0, sign), (b, a, sign, 1.0)):
        if not isinstance(host, _Filter):
            continue
        more = _weights_like(host, guest) if isinstance(guest, _Filter) else _taps_like(host, guest.affine)
        if more is None:
            continue
        dtype, sums = host.weights.dtype, (own * host.bias, others * more[1])
        weights = stored(own * host.weights.astype(np.float64) + others * more[0], dtype)
        bias = stored(np.broadcast_to(sums[0] + sums[1], host.weights.shape[:1]), dtype)
        if weights is None or bias is None or cancels(sums[0] + sums[1], *sums):
            continue
        operands = [host.source, graph.add_constant(weights, f"{layer.outputs[0]}:weights")]
        if np.any(bias != 0):
            operands.append(graph.add_constant(bias, f"{layer.outputs[0]}:bias"))
        graph.remove(*(branch.layer for branch in (a, b) if branch.layer is not None))
        graph.replace(layer, host.layer.with_(inputs=tuple(operands), outputs=layer.outputs, epilogue=layer.epilogue))
        return True
    return False


def _weights_like(host: _Filter, guest: _Filter) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights and bias of a filter in the shape of another's; None where they do not fit into those."""
    w, groups = guest.weights, guest.groups
    same = guest.attrs["stride"] == host.attrs["stride"] and guest.shrinks() == host.shrinks()
    outputs, inputs = host.weights.shape[0], host.weights.shape[1] * host.groups
    if not same or w.dtype != host.weights.dtype or (w.shape[0], w.shape[1] * groups) != (outputs, inputs) or \
            groups % host.groups:
        return None
    taps = []
    for axis in range(len(host.kernel)):
        seen = host.seen(axis)
        if not set(guest.seen(axis)) <= set(seen):
            return None
        taps.append(np.array([seen.index(place) for place in guest.seen(axis)]))
    more = np.zeros(host.weights.shape)
    for g in range(groups):
        rows = np.arange(g * outputs // groups, (g + 1) * outputs // groups)
        columns = np.arange(w.shape[1]) + g * w.shape[1] % host.weights.shape[1]
        more[np.ix_(rows, columns, *taps)] = w[rows]
    return more, guest.bias


def _taps_like(host: _Filter, found: Affine) -> tuple[np.ndarray, np.ndarray] | None:
    """The same of a map of each element by itself."""
    w, channels = host.weights, host.weights.shape[1] * host.groups
    scale, shift = (by_channel(a, found.by_channel, channels, w.ndim - 1, w.ndim) for a in found[1:3])
    centre = [host.seen(axis).index(0) if 0 in host.seen(axis) else -1 for axis in range(len(host.kernel))]
    if scale is None or shift is None or w.shape[0] != channels or any(host.shrinks()) or min(centre) < 0 or \
            any(s != 1 for s in host.attrs["stride"]):
        return None
    more = np.zeros(w.shape)
    every = np.arange(channels)
    more.reshape(channels, w.shape[1], -1)[every, every % w.shape[1], np.ravel_multi_index(centre, host.kernel)] = scale
    return more, shift
