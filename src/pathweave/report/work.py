"""How much a layer computes and holds: operations and parameters, from shapes alone."""

from __future__ import annotations

from ..layers import kind_of
from ..layers.blocks import closed
from ..net.block import Block
from ..net.net import Layer, Net


def parameters(net: Net, layer: Layer) -> int:
    """Numbers in the layer's constants, those of its blocks included."""
    own = sum(net.specs[v].elements for v in set(layer.inputs) if v in net.constants)
    return own + sum(map(inner_parameters, layer.blocks.values()))


def inner_parameters(block: Block) -> int:
    """Numbers in the constants of a block, and of the blocks inside it."""
    inner = (b for layer in block.net.layers for b in layer.blocks.values())
    return sum(int(a.size) for a in block.net.constants.values()) + sum(map(inner_parameters, inner))


def operations(net: Net, layer: Layer) -> int:
    """Operations of a layer of a bound net: those of its kind, and one per element and part of the epilogue.

    A size that depends on contents counts as the least that it may be, at least 1.
    """
    kind = kind_of(layer.kind)
    inputs = [closed(net.specs[v]) if v else None for v in layer.inputs]
    outputs = [closed(net.specs[v]) for v in layer.outputs]
    own = kind.operations(kind.complete(layer.attrs), inputs[:-1] if layer.epilogue.add else inputs, outputs)
    parts = int(layer.epilogue.add) + int(bool(layer.epilogue.act))
    return own + parts * sum(y.elements for y in outputs)


def moves(kind: str) -> bool:
    """Whether a kind only moves elements."""
    return kind_of(kind).per_element == 0
