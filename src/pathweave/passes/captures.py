"""What no block reads is not captured, what is captured twice is captured once, and outputs that nobody reads go."""

from __future__ import annotations

from ..layers import kind_of
from ..net.block import Block
from ..net.net import Layer, Net
from ._graph import Graph

order = 7
needs_shapes = False


def apply(graph: Graph) -> bool:
    """One sweep over the layers with blocks."""
    changed = False
    for layer in graph.layers():
        if kind_of(layer.kind).nested:
            new = _without_outputs(graph, _captured_once(layer))
            if new is not layer:
                graph.replace(layer, new)
                changed = True
    return changed


def _captured_once(layer: Layer) -> Layer:
    """The layer with captured inputs that some block reads, each once."""
    kind = kind_of(layer.kind)
    attrs = kind.complete(layer.attrs)
    first, blocks = kind.fixed(attrs), layer.blocks  # type: ignore[attr-defined]
    starts = {name: kind.captured(attrs, name) for name in blocks}  # type: ignore[attr-defined]
    place: dict[str, int] = {}
    same: dict[int, int] = {}
    for i, v in enumerate(layer.inputs[first:]):
        names = [list(b.net.inputs)[starts[name] + i] for name, b in blocks.items()]
        if not any(_reads(b, inner) for b, inner in zip(blocks.values(), names)):
            same[i] = -1
        elif place.setdefault(v, i) != i:
            same[i] = place[v]
    if not same:
        return layer
    new = {name: _without_inputs(b, {starts[name] + i: -1 if j < 0 else starts[name] + j for i, j in same.items()})
           for name, b in blocks.items()}
    kept = layer.inputs[:first] + tuple(v for i, v in enumerate(layer.inputs[first:]) if i not in same)
    return layer.with_(inputs=kept, attrs={**layer.attrs, **new})


def _reads(block: Block, value: str) -> bool:
    return value in block.net.outputs or any(value in layer.inputs for layer in block.net.layers)


def _without_inputs(block: Block, same: dict[int, int]) -> Block:
    """A block without some inputs, by position; others stand for them, or -1 where none has to."""
    net, names = block.net, list(block.net.inputs)
    new = {names[i]: names[j] for i, j in same.items() if j >= 0}
    layers = [layer.with_(inputs=tuple(new.get(v, v) for v in layer.inputs)) if any(v in new for v in layer.inputs) else layer
              for layer in net.layers]
    inputs = {v: s for i, (v, s) in enumerate(net.inputs.items()) if i not in same}
    return Block(Net(inputs, [new.get(v, v) for v in net.outputs], layers, net.constants))


def _without_outputs(graph: Graph, layer: Layer) -> Layer:
    """The layer without outputs that nobody reads, as far as the next trip does not read them either; one stays at least."""
    kept = int(layer.attrs.get("carried", 0)) if layer.kind != "if" else 0
    ahead = 1 if layer.kind == "loop" else 0
    if layer.kind == "scan" and (layer.attrs.get("output_axes") or layer.attrs.get("output_directions")):
        return layer
    gone = [i for i, v in enumerate(layer.outputs) if i >= kept and not graph.used(v) and not graph.is_output(v)]
    gone = gone[1:] if len(gone) == len(layer.outputs) else gone
    if not gone:
        return layer
    new = {name: Block(Net(b.net.inputs, [v for i, v in enumerate(b.net.outputs) if i - ahead not in gone], b.net.layers,
                           b.net.constants)) for name, b in layer.blocks.items()}
    return layer.with_(attrs={**layer.attrs, **new}, outputs=tuple(v for i, v in enumerate(layer.outputs) if i not in gone))
