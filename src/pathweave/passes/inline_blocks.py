"""A branch that is always taken, and a loop of no trip or one, become part of the net around them."""

from __future__ import annotations

import numpy as np

from ..net.block import Block
from ..net.net import Layer
from ._graph import Graph

order = 6
needs_shapes = False


def apply(graph: Graph) -> bool:
    """One sweep; layers inside a block that became part of the net are looked at in the next one."""
    changed = False
    for layer in list(graph.layers()):
        if not graph.alive(layer):
            continue
        new = _branch(graph, layer) if layer.kind == "if" else _trips(graph, layer) if layer.kind == "loop" else None
        if new is not None:
            graph.replace(layer, *new)
            changed = True
    return changed


def _branch(graph: Graph, layer: Layer) -> list[Layer] | None:
    """The layers of the branch of an `if` whose branches are equal, as they are where its condition is known."""
    then, other = layer.attrs["then_branch"], layer.attrs["else_branch"]
    if then != other:
        return None
    layers, results = _inside(graph, layer, then, layer.inputs[1:])
    return layers + [_same(graph, layer, source, value) for source, value in zip(results, layer.outputs)]


def _trips(graph: Graph, layer: Layer) -> list[Layer] | None:
    """The layers of a loop that runs no time, or once; parts of no trip have a shape that is not known here."""
    trips, count = layer.attrs.get("trips", -1), int(layer.attrs.get("carried", 0))
    if trips not in (0, 1) or any(layer.inputs[:2]) and trips:
        return None
    carried, captured = layer.inputs[2:2 + count], layer.inputs[2 + count:]
    if trips == 0:
        if any(graph.used(v) or graph.is_output(v) for v in layer.outputs[count:]):
            return None
        return [_same(graph, layer, source, value) for source, value in zip(carried, layer.outputs)]
    first = [graph.add_constant(np.array(number, dtype), f"{layer.name}/{what}")
             for what, number, dtype in (("trip", 0, np.int64), ("condition", True, np.bool_))]
    layers, results = _inside(graph, layer, layer.attrs["body"], (*first, *carried, *captured))
    layers += [_same(graph, layer, source, value) for source, value in zip(results[1:], layer.outputs[:count])]
    return layers + [Layer(graph.fresh_layer_name(f"{layer.name}/{value}"), "unsqueeze", (source,), (value,), {"axes": (0,)})
                     for source, value in zip(results[1 + count:], layer.outputs[count:])]


def _same(graph: Graph, layer: Layer, source: str, value: str) -> Layer:
    return Layer(graph.fresh_layer_name(f"{layer.name}/{value}"), "identity", (source,), (value,))


def _inside(graph: Graph, layer: Layer, block: Block, values: tuple[str, ...]) -> tuple[list[Layer], list[str]]:
    """(layers of a block under new names, names of its outputs), on these values as its inputs."""
    names = dict(zip(block.net.inputs, values))
    names.update((v, graph.add_constant(a, f"{layer.name}/{v}")) for v, a in block.net.constants.items())
    layers = []
    for inner in block.net.layers:
        names.update((v, graph.fresh(f"{layer.name}/{v}")) for v in inner.outputs)
        layers.append(inner.with_(name=graph.fresh_layer_name(f"{layer.name}/{inner.name}"),
                                  inputs=tuple(names[v] if v else "" for v in inner.inputs),
                                  outputs=tuple(names[v] for v in inner.outputs)))
    return layers, [names[v] for v in block.net.outputs]
