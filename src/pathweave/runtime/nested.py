"""Blocks bound to what the net around them gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..layers import kind_of
from ..net.block import Block
from ..net.net import Layer, Net, TensorSpec
from ..passes.opening import bind_open

if TYPE_CHECKING:
    from .bound import BoundNet


def bound_blocks(bound: BoundNet, layer: Layer) -> dict[str, BoundNet]:
    """The blocks of a layer, by attribute, bound. Names of values and layers begin with those of layer and attribute."""
    from .bound import BoundNet
    found: dict[str, BoundNet] = {}
    for name, block in layer.blocks.items():
        if any(block == layer.attrs[other] for other in found):
            continue  # the same branch, whatever the condition
        specs = _given(bound, layer, block)
        net = _renamed(block.net, f"{layer.name}/{name}/")
        opened = bind_open(net, dict(zip(net.inputs, specs)))
        sizes = opened.example(bound.sizes)
        found[name] = BoundNet(opened.at(sizes), opened=opened, sizes=sizes)
    return found


def captured(layer: Layer, name: str, block: BoundNet) -> dict[str, str]:
    """Input of a block -> the value of the net around it that the block captures."""
    from ..layers import kind_of
    kind = kind_of(layer.kind)
    attrs = kind.complete(layer.attrs)
    own, first = kind.captured(attrs, name), kind.fixed(attrs)  # type: ignore[attr-defined]
    return dict(zip(list(block.inputs)[own:], layer.inputs[first:]))


def _given(bound: BoundNet, layer: Layer, block: Block) -> list[TensorSpec]:
    """Specs of a block's inputs, with the sizes that are open in the net around it."""
    assert bound.opened is not None
    specs = bound.opened.net.specs
    inputs, outputs = [specs[v] if v else None for v in layer.inputs], [specs[v] for v in layer.outputs]
    program = kind_of(layer.kind).program
    if program == "branches":
        return _all(inputs[1:])
    attrs = kind_of(layer.kind).complete(layer.attrs)
    carried = int(attrs["carried"])
    if program == "trips":
        captured = inputs[2 + carried:]
        return [TensorSpec("i64", ()), TensorSpec("bool", ()), *outputs[:carried], *_all(captured)]
    scanned = int(attrs["scanned"])
    axes = tuple(attrs["input_axes"]) or (0,) * scanned
    slices = [TensorSpec(s.dtype, s.shape[:a % s.rank] + s.shape[a % s.rank + 1:])
              for s, a in zip(_all(inputs[carried:carried + scanned]), axes)]
    return [*outputs[:carried], *slices, *_all(inputs[carried + scanned:])]


def _all(specs: Sequence[TensorSpec | None]) -> list[TensorSpec]:
    return [s for s in specs if s is not None]


def _renamed(net: Net, prefix: str) -> Net:
    """The net with a prefix to all names."""
    def name(value: str) -> str:
        return prefix + value if value else ""
    layers = [layer.with_(name=prefix + layer.name, inputs=tuple(map(name, layer.inputs)),
                          outputs=tuple(map(name, layer.outputs))) for layer in net.layers]
    return Net({name(n): s for n, s in net.inputs.items()}, [name(v) for v in net.outputs], layers,
               {name(n): a for n, a in net.constants.items()})
