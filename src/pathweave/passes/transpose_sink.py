"""A transpose moves behind element-wise layers, concat, softmax, reduce, pad, slice and split, to meet its inverse."""

from __future__ import annotations

import numpy as np

from ..layers import kind_of
from ..layers.activation import Unary
from ..layers.elementwise import Binary
from ..net.net import Layer
from ._graph import Graph

order = 28
needs_shapes = False

_ALONG_AN_AXIS = ("softmax", "log_softmax", "hardmax")


def apply(graph: Graph) -> bool:
    """One step down for every transpose that nobody else uses; transposes only ever move down, so this ends."""
    changed = False
    for layer in graph.layers():
        if layer.epilogue or layer.kind == "transpose" or not layer.inputs:
            continue
        fronts = [graph.made_by(v, "transpose") if v else None for v in layer.inputs]
        front = next((f for f in fronts if f is not None), None)
        if front is None or any(f is not None and f.attrs["perm"] != front.attrs["perm"] for f in fronts):
            continue
        if any(f is not None and not _may_leave(graph, f, layer) for f in fronts):
            continue
        moved = _moved(graph, layer, fronts, tuple(front.attrs["perm"]))
        if moved is not None:
            _sink(graph, layer, fronts, *moved)
            changed = True
    return changed


def _may_leave(graph: Graph, front: Layer, layer: Layer) -> bool:
    """True where the layer is the only one to see the transposed value, or all others can move to its front as well.

    In the second case one of them has to be a transpose or a join, where the copies can meet again.
    """
    value = front.outputs[0]
    if graph.is_output(value):
        return False
    if graph.sole_consumer(value) is layer:
        return True
    users = graph.consumer_sorts(value)
    return all(kind == "transpose" or (not epilogue and _moves(kind)) for kind, epilogue, _ in users) and \
        any(kind == "transpose" or several for kind, _, several in users)


def _moves(kind: str) -> bool:
    return kind in ("cast", "identity", "concat") or isinstance(kind_of(kind), (Unary, Binary))


def _sink(graph: Graph, layer: Layer, fronts, inputs, attrs, perm) -> None:
    """Put the layer on the untransposed values, and a transpose behind each of its outputs."""
    used = list({f.name: f for f in fronts if f is not None}.values())
    inner = [graph.fresh(f"{v}:untransposed") for v in layer.outputs]
    body = layer.with_(inputs=tuple(inputs), outputs=tuple(inner), attrs=attrs)
    graph.replace(layer, body)
    # Fronts that nobody uses any more go, and leave their names to the transposes behind.
    free = [f for f in used if not graph.used(f.outputs[0])]
    graph.remove(*free)
    names = [f.name for f in free][:len(inner)]
    while len(names) < len(inner):
        names.append(graph.fresh_layer_name(f"{used[0].name}_{layer.name}_{len(names)}"))
    behind = [Layer(name, "transpose", (i,), (v,), {"perm": perm}) for name, i, v in zip(names, inner, layer.outputs)]
    graph.replace(body, body, *behind)


def _moved(graph: Graph, layer: Layer, fronts, perm):
    """(inputs, attributes, perm behind) of the layer on untransposed values; None where it cannot move."""
    sources = [f.inputs[0] if f is not None else v for f, v in zip(fronts, layer.inputs)]
    attrs = dict(layer.attrs)
    kind = kind_of(layer.kind)
    rank = len(perm)
    if sorted(perm) != list(range(rank)):
        return None
    if isinstance(kind, Unary) or layer.kind in ("cast", "identity"):
        return sources, attrs, perm
    if isinstance(kind, Binary) or layer.kind == "prelu":
        return _elementwise(graph, layer, fronts, sources, attrs, perm)
    if layer.kind == "concat":
        if any(f is None for f in fronts):
            return None
        return sources, {**attrs, "axis": perm[attrs["axis"]]}, perm
    if len(layer.inputs) != 1:
        return None
    if layer.kind in _ALONG_AN_AXIS:
        return sources, {**attrs, "axis": perm[attrs.get("axis", -1)]}, perm
    if layer.kind == "split":
        return sources, {**attrs, "axis": perm[attrs.get("axis", 0)]}, perm
    if layer.kind == "reduce" and attrs["axes"]:
        return _reduce(sources, attrs, perm)
    if layer.kind == "pad" and len(attrs.get("pads", ())) == 2 * rank and not attrs.get("axes"):
        pads = [0] * 2 * rank
        for i, p in enumerate(perm):
            pads[p], pads[p + rank] = attrs["pads"][i], attrs["pads"][i + rank]
        return sources, {**attrs, "pads": tuple(pads)}, perm
    if layer.kind == "slice" and attrs.get("starts"):
        axes = attrs.get("axes") or range(len(attrs["starts"]))
        return sources, {**attrs, "axes": tuple(perm[a] for a in axes)}, perm
    return None


def _elementwise(graph: Graph, layer: Layer, fronts, sources, attrs, perm):
    """Operands that are not transposed must be constants, which are transposed back here."""
    inverse = np.argsort(perm)
    inputs = []
    for front, value in zip(fronts, sources):
        array = graph.constant(value)
        if front is None and (array is None or array.ndim > len(perm)):
            return None
    for front, value in zip(fronts, sources):
        array = graph.constant(value)
        if front is None and array.size > 1:
            full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            value = graph.add_constant(np.ascontiguousarray(full.transpose(inverse)), f"{value}:transposed")
        inputs.append(value)
    return inputs, attrs, perm


def _reduce(sources, attrs, perm):
    rank = len(perm)
    axes = {a % rank for a in attrs["axes"]}
    attrs = {**attrs, "axes": tuple(sorted(perm[a] for a in axes))}
    if attrs.get("keepdims", 1):
        return sources, attrs, perm
    rest = [p for i, p in enumerate(perm) if i not in axes]
    return sources, attrs, tuple(sorted(rest).index(p) for p in rest)
