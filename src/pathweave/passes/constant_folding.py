"""Layers with nothing but constants for inputs become constants, as far as the result's bytes and the effort allow."""

from __future__ import annotations

from ..errors import ModelError
from ..layers import infer_layer
from ..meaning.partial import fold
from ..net.format import dtype_of
from ..net.net import TensorSpec
from ._graph import Graph

order = 10
needs_shapes = False


def apply(graph: Graph) -> bool:
    """One sweep in order, so that whole constant chains go at once."""
    changed = False
    for layer in graph.layers():
        if layer.epilogue or any(graph.is_dynamic(v) for v in layer.inputs):
            continue
        arrays = [graph.constant(v) if v else None for v in layer.inputs]
        try:
            specs = [None if a is None else TensorSpec(dtype_of(a.dtype), a.shape) for a in arrays]
            outputs = infer_layer(layer, specs)
        except ModelError:
            continue  # not a case for folding; shape inference of the bound net reports it
        folded = fold(layer, outputs, graph.constants, graph.folding)
        if folded is None:
            continue
        graph.remove(layer)
        for value, array in folded.items():
            graph.make_constant(value, array)
        changed = True
    return changed
