"""A transpose moves behind the layers that compute the same with other attributes in front of it, to meet its inverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

order = 28
needs_shapes = False


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


def _moves(name: str) -> bool:
    """True for a kind that takes transposed inputs whatever its attributes are."""
    kind = kind_of(name)
    return kind.elementwise or kind.moves == slice(None)


def _sink(graph: Graph, layer: Layer, fronts: Sequence[Layer | None], inputs: list[str], attrs: Mapping[str, Any],
          perm: tuple[int, ...]) -> None:
    """Put the layer on the untransposed values, and a transpose behind each of its outputs."""
    used = list({f.name: f for f in fronts if f is not None}.values())
    inner = [graph.fresh(f"{v}:untransposed") for v in layer.outputs]
    body = layer.with_(inputs=tuple(inputs), outputs=tuple(inner), attrs=attrs)
    graph.replace(layer, body)
    # Fronts that nobody uses any more go, and leave their names to the transposes behind.
    free = [f for f in used if not graph.used(f.outputs[0])]
    for f in free:
        _hand_back(graph, f.outputs[0], f.inputs[0], f.attrs["perm"])
    for v, i in zip(layer.outputs, inner):
        _hand_back(graph, v, i, perm)
    graph.remove(*free)
    names = [f.name for f in free][:len(inner)]
    while len(names) < len(inner):
        names.append(graph.fresh_layer_name(f"{used[0].name}_{layer.name}_{len(names)}"))
    behind = [Layer(name, "transpose", (i,), (v,), {"perm": perm}) for name, i, v in zip(names, inner, layer.outputs)]
    graph.replace(body, body, *behind)


def _hand_back(graph: Graph, transposed: str, source: str, perm: Sequence[int]) -> None:
    """A scale that the transposed value states is that of the other one too."""
    scale = graph.scales.get(transposed)
    if scale is not None:
        graph.scales.setdefault(source, scale if scale.axis is None else scale._replace(axis=int(perm[scale.axis])))


def _moved(graph: Graph, layer: Layer, fronts: Sequence[Layer | None], perm: tuple[int, ...]) -> tuple[list[str],
           Mapping[str, Any], tuple[int, ...]] | None:
    """(inputs, attributes, perm behind) of the layer on untransposed values; None where it cannot move."""
    sources = [f.inputs[0] if f is not None else v for f, v in zip(fronts, layer.inputs)]
    kind = kind_of(layer.kind)
    found = kind.before_transpose(layer.attrs, perm) if sorted(perm) == list(range(len(perm))) else None
    if found is None:
        return None
    if kind.elementwise:
        inputs = _operands(graph, fronts, sources, perm)
        return None if inputs is None else (inputs, *found)
    # Beside element-wise kinds, only those that move the elements of all their inputs may have several.
    return (sources, *found) if len(sources) == 1 or kind.moves == slice(None) and None not in fronts else None


def _operands(graph: Graph, fronts: Sequence[Layer | None], sources: list[str],
              perm: tuple[int, ...]) -> list[str] | None:
    """Operands that are not transposed must be constants, which are transposed back here."""
    inverse = np.argsort(perm)
    inputs = []
    for front, value in zip(fronts, sources):
        array = graph.constant(value)
        if front is None and (array is None or array.ndim > len(perm)):
            return None
    for front, value in zip(fronts, sources):
        array = graph.constant(value)
        if front is None and array is not None and array.size > 1:
            full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            value = graph.add_constant(np.ascontiguousarray(full.transpose(inverse)), f"{value}:transposed")
        inputs.append(value)
    return inputs
