"""matmul with a constant matrix on the right becomes dense."""

from __future__ import annotations

import numpy as np

from ..net.per_array import PerArray
from ._graph import Graph

order = 30
needs_shapes = False

#: One copy for all layers, in all blocks, that multiply by the same matrix.
_transposed = PerArray(lambda b: np.ascontiguousarray(b.T))


def apply(graph: Graph) -> bool:
    """a @ b with b of rank 2 and floating point; the weights are stored transposed."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "matmul" or layer.epilogue or not graph.is_dynamic(layer.inputs[0]):
            continue
        b = graph.constant(layer.inputs[1])
        if b is None or b.ndim != 2 or b.dtype.kind != "f":
            continue
        w = graph.add_constant(_transposed(b), f"{layer.inputs[1]}:transposed")
        graph.replace(layer, layer.with_(kind="dense", inputs=(layer.inputs[0], w), attrs={}))
        changed = True
    return changed
