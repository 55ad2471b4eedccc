"""Regions: consecutive layers that one routine may compute together. One rule per file.

A module of this folder with `find(net) -> Iterator[Region]` is a rule by being there. A region is an offer: its layers
stay layers of the net, and the solver weighs a routine for the whole against routines for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from ..errors import ModelError
from ..layers import kind_of
from ..net.net import Epilogue, Layer, Net
from ..plugins import by_module, collect


@dataclass(frozen=True)
class Region:
    """`layers`: names of the members, in topological order. `layer`: computes the same from what lies outside; it has
    the outputs of the last member, and the region's name. `usual`: its routine is usually faster than those of the members; the
    default route goes by that guess, which decides nothing that is measured."""

    layers: tuple[str, ...]
    layer: Layer
    usual: bool = False

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def last(self) -> str:
        """The member whose outputs are the region's."""
        return self.layers[-1]


def region_name(members: Iterable[Layer]) -> str:
    """`first..last`."""
    members = list(members)
    return f"{members[0].name}..{members[-1].name}"


def constant_weights(net: Net, layer: Layer) -> bool:
    """True when weights and bias of a convolution are constants."""
    body = layer.inputs[1:-1] if layer.epilogue.add else layer.inputs[1:]
    return all(not v or v in net.constants for v in body)


def pointwise(net: Net, layer: Layer) -> bool:
    """True for a 1x1 convolution of stride 1 without padding and groups, whose weights and bias are constants."""
    if layer.kind != "conv2" or layer.inputs[1] not in net.constants or not constant_weights(net, layer):
        return False
    attrs = kind_of("conv2").complete(layer.attrs)
    return (tuple(net.constants[layer.inputs[1]].shape[2:]) == (1, 1) and tuple(attrs["stride"]) == (1, 1) and
            not any(attrs["pad"]) and attrs["groups"] == 1)


def weights_and_bias(layer: Layer | None) -> tuple[str, str]:
    """Names of a convolution's weights and bias, "" where they are absent."""
    if layer is None:
        return "", ""
    body = layer.inputs[:-1] if layer.epilogue.add else layer.inputs
    return body[1], body[2] if len(body) > 2 else ""


def activation_text(layer: Layer) -> str:
    """The activation of a layer's epilogue, as the text of an epilogue."""
    return str(Epilogue(False, layer.epilogue.act, layer.epilogue.params))


@cache
def rules() -> tuple[ModuleType, ...]:
    """Every rule, by name, those of plugins last."""
    return tuple(collect(__name__, "regions", by_module("find"), "region").values())


def find(net: Net) -> dict[str, Region]:
    """The regions of a net by name, in the order of their last members. Raises ModelError for a rule that breaks the
    contract: members that do not exist, a value inside that is used outside, a name twice."""
    position = {layer.name: i for i, layer in enumerate(net.layers)}
    found = [region for rule in rules() for region in rule.find(net)]
    regions: dict[str, Region] = {}
    users = net.consumers()
    for region in sorted(found, key=lambda r: (position.get(r.last, -1), r.layers)):
        _check(net, region, position, users)
        if region.name in regions or region.name in position:
            raise ModelError(f"region {region.name!r}: the name is taken; rename one of its layers")
        regions[region.name] = region
    return regions


def _check(net: Net, region: Region, position: dict[str, int],
           users: dict[str, list[tuple[Layer, int]]] | None = None) -> None:
    users = net.consumers() if users is None else users
    places = [position.get(name, -1) for name in region.layers]
    if len(places) < 2 or min(places) < 0 or places != sorted(set(places)):
        raise ModelError(f"region {region.name!r}: expected two or more layers of the net in their order, got "
                         f"{', '.join(region.layers)}")
    members = [net.layers[i] for i in places]
    inside = {v for layer in members[:-1] for v in layer.outputs}
    leaving = [v for v in inside if v in net.outputs or any(user.name not in region.layers for user, _ in users.get(v, []))]
    if leaving or region.layer.outputs != members[-1].outputs or inside & set(region.layer.inputs):
        raise ModelError(f"region {region.name!r}: expected the outputs of {region.last!r} to be all that leaves it, got "
                         f"{', '.join(leaving) or ', '.join(region.layer.outputs)}")


def fuse(net: Net, regions: Iterable[Region]) -> Net:
    """The net with each region as one layer, at the place of its last member. Regions must not share layers."""
    last = {r.last: r for r in regions}
    gone = {name for r in last.values() for name in r.layers[:-1]}
    if gone & last.keys() or sum(len(r.layers) - 1 for r in last.values()) != len(gone):
        raise ModelError(f"regions {', '.join(r.name for r in last.values())}: some of them share a layer")
    layers = [last[layer.name].layer if layer.name in last else layer for layer in net.layers if layer.name not in gone]
    used = {v for layer in layers for v in (*layer.inputs, *layer.outputs)} | set(net.inputs) | set(net.outputs)
    specs = {v: s for v, s in net.specs.items() if v in used}
    scales = {v: s for v, s in net.scales.items() if v in specs or v in net.constants}
    return Net(dict(net.inputs), list(net.outputs), layers, dict(net.constants), specs, scales=scales)


def disjoint(regions: Iterable[Region]) -> Iterator[list[Region]]:
    """The regions in groups within which no two share a layer, as few groups as a greedy walk finds."""
    waiting = list(regions)
    while waiting:
        taken: set[str] = set()
        group: list[Region] = []
        rest: list[Region] = []
        for region in waiting:
            fits = taken.isdisjoint(region.layers)
            (group if fits else rest).append(region)
            if fits:
                taken.update(region.layers)
        yield group
        waiting = rest
