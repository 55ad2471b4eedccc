"""A pad of the axes of space in front of a convolution or pool becomes the layer's own padding."""

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
        neutral, space = kind_of(layer.kind).padding, kind_of(layer.kind).space
        if neutral is None or space is None:
            continue
        pad = graph.made_by(layer.inputs[0], "pad")
        widths = _widths(pad, neutral, space) if pad is not None and graph.private(layer.inputs[0]) else None
        merged = _merged(layer, widths) if widths is not None else None
        if pad is None or merged is None:
            continue
        graph.remove(pad)
        inputs = (pad.inputs[0], *layer.inputs[1:])
        graph.replace(layer, layer.with_(inputs=inputs, attrs={**layer.attrs, "pad": merged}))
        changed = True
    return changed


def _widths(pad: Layer, neutral: float, space: int) -> tuple[int, ...] | None:
    """What a pad puts before, then behind every axis of space (top, left, bottom, right of images), where it pads no other
    axis, and with the neutral value; None for any other."""
    pads, rank = pad.attrs.get("pads", ()), 2 + space
    plain = len([v for v in pad.inputs if v]) == 1 and len(pads) == 2 * rank and not pad.attrs.get("axes")
    if not plain or pad.attrs.get("mode", "constant") != "constant" or pad.attrs.get("value", 0.0) != neutral:
        return None
    if any((*pads[:2], *pads[rank:rank + 2])) or min(pads) < 0:
        return None
    return (*pads[2:rank], *pads[rank + 2:])


def _merged(layer: Layer, widths: tuple[int, ...]) -> tuple[int, ...] | None:
    own = tuple(layer.attrs.get("pad", (0, 0, 0, 0)))
    merged = tuple(int(a + b) for a, b in zip(own, widths))
    return merged if kind_of(layer.kind).takes_padding(layer.attrs, merged) else None
