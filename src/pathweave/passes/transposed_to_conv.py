"""conv_transpose2 of stride 1 becomes conv2 with its weights flipped, which has more and faster routines."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._graph import Graph

order = 29
needs_shapes = False

#: Outputs of a group below which a convolution fills its tiles with padding; routines for conv_transpose2 do not. One filter
#: per channel has a kind of its own.
MANY = 8


def apply(graph: Graph) -> bool:
    """Where the output is no larger than the input: a convolution multiplies once per output and tap, this one per input."""
    changed = False
    made: dict[tuple[int, int], np.ndarray] = {}
    for layer in graph.layers():
        w = graph.constant(layer.inputs[1]) if layer.kind == "conv_transpose2" else None
        if w is None or w.ndim != 4:
            continue
        pad = _pad(layer, w.shape[2:])
        groups = int(layer.attrs.get("groups", 1))
        if pad is None or groups < 1 or w.shape[0] % groups or not (w.shape[1] >= MANY or groups == w.shape[0] > 1):
            continue
        if (id(w), groups) not in made:
            made[id(w), groups] = flipped(w, groups)
        weights = graph.add_constant(made[id(w), groups], f"{layer.inputs[1]}:flipped")
        attrs = {"stride": (1, 1), "pad": pad, "dilation": layer.attrs.get("dilation", (1, 1)), "groups": groups}
        graph.replace(layer, layer.with_(kind="conv2", inputs=(layer.inputs[0], weights, *layer.inputs[2:]), attrs=attrs))
        changed = True
    return changed


def _pad(layer: Layer, kernel: tuple[int, ...]) -> tuple[int, ...] | None:
    """The convolution's padding; None where it would be negative, or the output larger than the input."""
    if tuple(layer.attrs.get("stride", (1, 1))) != (1, 1):
        return None
    reach = [(k - 1) * d for k, d in zip(kernel, layer.attrs.get("dilation", (1, 1)))]
    pad, more = layer.attrs.get("pad", (0, 0, 0, 0)), layer.attrs.get("output_pad", (0, 0))
    found = tuple(int(reach[i % 2] - pad[i] + (more[i - 2] if i > 1 else 0)) for i in range(4))
    grows = any(found[i] + found[i + 2] > reach[i] for i in (0, 1))
    return None if min(found) < 0 or grows else found


def flipped(w: np.ndarray, groups: int) -> np.ndarray:
    """[C, O/groups, kh, kw] -> [O, C/groups, kh, kw], kernels turned by half a circle."""
    inputs, outputs, *kernel = w.shape
    by_group = w.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    return np.ascontiguousarray(by_group.reshape(groups * outputs, inputs // groups, *kernel)[..., ::-1, ::-1])
