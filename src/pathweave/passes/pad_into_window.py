"""A pad of height and width in front of a convolution or pool becomes the layer's own padding."""

from __future__ import annotations

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

order = 40
needs_shapes = False


def apply(graph: Graph) -> bool:
    """Only pads that no other layer sees."""
    changed = False
    for layer in graph.layers():
        neutral = kind_of(layer.kind).padding
        if neutral is None:
            continue
        pad = graph.made_by(layer.inputs[0], "pad")
        widths = _widths(pad, neutral) if pad is not None and graph.private(layer.inputs[0]) else None
        merged = _merged(layer, widths) if widths is not None else None
        if pad is None or merged is None:
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


def _merged(layer: Layer, widths: tuple[int, ...]) -> tuple[int, ...] | None:
    own = tuple(layer.attrs.get("pad", (0, 0, 0, 0)))
    merged = tuple(int(a + b) for a, b in zip(own, widths))
    return merged if kind_of(layer.kind).takes_padding(layer.attrs, merged) else None
