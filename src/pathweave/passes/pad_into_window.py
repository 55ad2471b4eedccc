"""A pad of height and width in front of a convolution or pool becomes the layer's own padding."""

from __future__ import annotations

import math

from ..net.net import Layer
from ._graph import Graph

order = 40
needs_shapes = False

#: Kind -> the padding value that the kind's own padding stands for
_NEUTRAL = {"conv2": 0.0, "depthwise_conv2": 0.0, "max_pool2": -math.inf, "average_pool2": 0.0, "lp_pool2": 0.0}
_CONVOLUTIONS = ("conv2", "depthwise_conv2")


def apply(graph: Graph) -> bool:
    """Only pads that no other layer sees."""
    changed = False
    for layer in graph.layers():
        if layer.kind not in _NEUTRAL:
            continue
        pad = graph.made_by(layer.inputs[0], "pad")
        widths = _widths(pad, _NEUTRAL[layer.kind]) if pad is not None and graph.private(layer.inputs[0]) else None
        merged = _merged(graph, layer, widths) if widths is not None else None
        if merged is None:
            continue
        graph.remove(pad)
        inputs = (pad.inputs[0], *layer.inputs[1:])
        graph.replace(layer, layer.with_(inputs=inputs, attrs={**layer.attrs, "pad": merged}))
        changed = True
    return changed


def _widths(pad: Layer, neutral: float) -> tuple[int, int, int, int] | None:
    """top, left, bottom, right of a pad with the neutral value of rank 4; None for any other."""
    pads = pad.attrs.get("pads", ())
    plain = len([v for v in pad.inputs if v]) == 1 and len(pads) == 8 and not pad.attrs.get("axes")
    if not plain or pad.attrs.get("mode", "constant") != "constant" or pad.attrs.get("value", 0.0) != neutral:
        return None
    if any((pads[0], pads[1], pads[4], pads[5])) or min(pads) < 0:
        return None
    return pads[2], pads[3], pads[6], pads[7]


def _merged(graph: Graph, layer: Layer, widths) -> tuple[int, ...] | None:
    own = tuple(layer.attrs.get("pad", (0, 0, 0, 0)))
    merged = tuple(int(a + b) for a, b in zip(own, widths))
    if layer.kind in _CONVOLUTIONS:
        return merged
    if layer.attrs.get("ceil", 0) or (layer.kind == "average_pool2" and (not layer.attrs.get("count_pad", 0))):
        return None
    kernel, dilation = layer.attrs["kernel"], layer.attrs.get("dilation", (1, 1))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    return merged if all(merged[i] <= reach[i % 2] for i in range(4)) else None
