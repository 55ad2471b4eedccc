"""Sparse products: weights that are zero, or blocks of 16 outputs that are zero throughout, are not multiplied."""

from __future__ import annotations

import numpy as np

from ...layers import kind_of
from ...net.net import Layer, Net
from ...net.zeros import BLOCK
from .. import work

#: Algorithm -> outputs that are left out together.
BLOCKS = {"sparse": 1, "sparse_batch": 1, "sparse_blocks": BLOCK}


def operations(net: Net, layer: Layer, algorithm: str, variant: str) -> int | None:
    index = kind_of(layer.kind).weights
    if algorithm not in BLOCKS or index is None or layer.inputs[index] not in net.constants:
        return None
    w = net.constants[layer.inputs[index]]
    outputs, block = w.shape[0], BLOCKS[algorithm]
    kept = np.logical_or.reduceat(w.reshape(outputs, -1) != 0, range(0, outputs, block))
    sizes = np.minimum(block, outputs - np.arange(0, outputs, block))
    skipped = int((~kept).sum(1) @ sizes)
    return work.operations(net, layer) - 2 * (net.specs[layer.outputs[0]].elements // outputs) * skipped
