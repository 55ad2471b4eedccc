"""x / max(norm x, number) along one axis becomes lp_norm."""

from __future__ import annotations

import math

from ..layers._common import FLOATS
from ..net.net import Layer
from ._graph import Graph

order = 34
needs_shapes = True


def apply(graph: Graph) -> bool:
    """The norm by one reduction or by squares, sum and root; with or without a least number, and expanded or not."""
    changed = False
    for layer in graph.layers():
        found = _found(graph, layer) if layer.kind == "div" and not layer.epilogue else None
        if found is not None:
            axis, p, least = found
            attrs = {"axis": axis, "p": p, "least": least}
            graph.replace(layer, layer.with_(kind="lp_norm", inputs=layer.inputs[:1], attrs=attrs))
            changed = True
    return changed


def _found(graph: Graph, layer: Layer) -> tuple[int, int, float] | None:
    """(axis, p, least) where the layer divides by a norm of what it divides."""
    x, norm = layer.inputs
    spec = graph.specs.get(x)
    if spec is None or spec != graph.specs.get(layer.outputs[0]) or spec.dtype not in FLOATS:
        return None  # quotients of integers are integers
    expand = graph.made_by(norm, "expand")
    norm = expand.inputs[0] if expand is not None else norm
    bounded = graph.made_by(norm, "clip", "maximum")
    least: float | None = 0.0
    if bounded is not None:
        least, norm = _bounded(graph, bounded)
    if least is None or not least > 0:
        return None  # without a least number 0 / 0 is NaN there, and 0 here
    reduced = graph.made_by(norm, "reduce")
    p = {"l1": 1, "l2": 2}.get(reduced.attrs["op"]) if reduced is not None else None
    if reduced is None:
        root = graph.made_by(norm, "sqrt")
        reduced = graph.made_by(root.inputs[0], "reduce") if root is not None else None
        p = 2
        if reduced is not None and reduced.attrs["op"] == "sum":
            square = graph.made_by(reduced.inputs[0], "mul", "pow")
            if square is None or square.inputs[0] != x or \
                    (square.inputs[1] != x if square.kind == "mul" else graph.scalar(square.inputs[1], square) != 2):
                return None
        elif reduced is None or reduced.attrs["op"] != "sum_square" or reduced.inputs[0] != x:
            return None
    elif p is None or reduced.inputs[0] != x:
        return None
    axes = tuple(reduced.attrs.get("axes") or ())
    if len(axes) != 1 or reduced.attrs.get("keepdims", 1) != 1:
        return None
    return int(axes[0]), p, float(least)


def _bounded(graph: Graph, layer: Layer) -> tuple[float | None, str]:
    """(least number, value) of a clip from below or of a maximum with a number."""
    if layer.kind == "clip":
        unbounded = layer.attrs.get("max", math.inf) == math.inf
        return (float(layer.attrs.get("min", -math.inf)) if unbounded else None), layer.inputs[0]
    for value, number in (layer.inputs, layer.inputs[::-1]):
        least = graph.scalar(number, layer)
        if least is not None:
            return float(least), value
    return None, layer.inputs[0]
