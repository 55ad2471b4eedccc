"""x ^ 3, x ^ 4 and x ^ -1 become products and a reciprocal, which take a fraction of the time of a power."""

from __future__ import annotations

from ..layers._common import FLOATS
from ..net.net import Layer
from ._graph import Graph

order = 79  # behind those that look for powers, before activations become epilogues
needs_shapes = True


def apply(graph: Graph) -> bool:
    """Of floats alone, with one number as the exponent. Squares have a product of their own already."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "pow":
            continue
        x, spec = layer.inputs[0], graph.specs.get(layer.inputs[0])
        power = graph.scalar(layer.inputs[1], layer)
        if power not in (3.0, 4.0, -1.0) or spec is None or spec.dtype not in FLOATS or x in graph.scales or \
                spec != graph.specs.get(layer.outputs[0]):
            continue
        if power == -1.0:
            graph.replace(layer, layer.with_(kind="reciprocal", inputs=(x, *layer.inputs[2:])))
        else:
            square = graph.fresh(f"{layer.outputs[0]}:square")
            first = Layer(graph.fresh_layer_name(f"{layer.name}/square"), "mul", (x, x), (square,))
            other = square if power == 4.0 else x
            graph.replace(layer, first, layer.with_(kind="mul", inputs=(square, other, *layer.inputs[2:])))
        changed = True
    return changed
