"""Blocks in the description of a model: nets inside layers, with the tensors of their constants.

A block is the attribute `{"$block": {"inputs": {...}, "outputs": [...], "constants": {NAME: TENSOR}, "layers": [...]}}`, whose
parts are those of a net. TENSOR is `<net>/<constant>` where the net around it has the very same array, else `block/<number>`;
several blocks may name one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..net.block import Block
from ..net.net import Model, Net

TAG = "$block"
#: What names of tensors of blocks start with; no net has this name.
PREFIX = "block/"


def tensors_of(model: Model) -> tuple[dict[str, Any], dict[int, str]]:
    """(arrays of blocks by the name of their tensor, identity of every array of the model -> name of its tensor).

    An array that several blocks and nets have is one tensor.
    """
    names: dict[int, str] = {}
    for net_name, net in model.nets.items():
        for name, array in net.constants.items():
            names.setdefault(id(array), f"{net_name}/{name}")
    arrays: dict[str, Any] = {}
    for net in model.nets.values():
        for block in inner_blocks(net):
            for array in block.net.constants.values():
                if id(array) not in names:
                    names[id(array)] = f"{PREFIX}{len(arrays)}"
                    arrays[names[id(array)]] = array
    return arrays, names


def inner_blocks(net: Net) -> Iterator[Block]:
    """All blocks of a net, those inside blocks included, in order."""
    for layer in net.layers:
        for block in layer.blocks.values():
            yield block
            yield from inner_blocks(block.net)
