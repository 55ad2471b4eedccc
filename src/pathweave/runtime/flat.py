"""A bound net and the blocks in it as one list of layers, as conversions, profiles and solvers see it.

What a block captures is the value of the net around it, under that name: a conversion of it is made once, before the layer
that has the block. What else a block is given, and what it gives, lies in the format that the layer's routine names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..layers import kind_of
from ..net.format import Format, plain_format
from ..net.net import Layer, TensorSpec
from ..net.problem import Problem
from .bound import BoundNet
from .catalogue import PROGRAM, Candidate, Refusal, Restrict
from .nested import captured


@dataclass(frozen=True)
class Place:
    """Where a layer stands. `net`: whose `index`-th layer it is. `position`: of the layer of the outer net that it is, or
    is inside of. `block`: the block that it is in, LAYER/ATTRIBUTE, "" for a layer of the outer net."""

    layer: Layer
    net: BoundNet
    index: int
    position: int
    block: str


class Flat:
    """`layers`: all of them, those of a block before the layer that has it. `places`: of each. `blocks`: LAYER/ATTRIBUTE ->
    bound block. `given`: values that are there before any layer runs, with their formats."""

    def __init__(self, bound: BoundNet):
        self.bound = bound
        self.given: dict[str, Format] = {n: bound.input_format(n) for n in bound.inputs}
        self.blocks: dict[str, BoundNet] = {}
        self._owners: dict[str, str] = {}
        self._origin: dict[str, str] = {}
        self._block_of: dict[str, str] = {}
        self.places = list(self._walk(bound, "", None))
        self.layers = [p.layer for p in self.places]
        self.place = {p.layer.name: p for p in self.places}
        self._specs: dict[str, BoundNet] = {v: net for net in (*self.blocks.values(), bound) for v in net.net.specs}

    def _walk(self, net: BoundNet, block: str, position: int | None) -> Iterator[Place]:
        self._block_of |= dict.fromkeys(net.inputs, block)
        for i, layer in enumerate(net.layers):
            at = i if position is None else position
            for name, inner in net.nested.get(layer.name, {}).items() if kind_of(layer.kind).nested else ():
                self.blocks[f"{layer.name}/{name}"] = inner
                self._owners[f"{layer.name}/{name}"] = layer.name
                outside = captured(layer, name, inner)
                for value, spec in inner.inputs.items():
                    around = self.origin(outside[value]) if value in outside else ""
                    if around and outside[value] not in net.net.constants:
                        self._origin[value] = around
                    else:
                        self.given[value] = plain_format(spec.dtype, spec.rank)
                yield from self._walk(inner, f"{layer.name}/{name}", at)
            self._block_of |= dict.fromkeys(layer.outputs, block)
            yield Place(layer, net, i, at, block)

    def owner(self, block: str) -> Place:
        """Where the layer stands that has a block."""
        return self.place[self._owners[block]]

    def origin(self, value: str) -> str:
        """The value that a name stands for: that of the net around it for what a block captures."""
        return self._origin.get(value, value)

    def block_of(self, value: str) -> str:
        """The block in which a value is made, or which is given it; "" for the outer net."""
        return self._block_of[value]

    def spec(self, value: str) -> TensorSpec:
        """dtype and shape of a value."""
        return self._specs[value].spec(value)

    def problems(self, threads: int) -> list[Problem]:
        """The problem of every layer, in the order of `layers`."""
        return [p.net.problems(threads)[p.index] for p in self.places]

    def candidates(self, index: int, threads: int, *, accuracy: str = "f32", restrict: Restrict | None = None,
                   include_reference: bool = False) -> tuple[list[Candidate], list[Refusal]]:
        """As `BoundNet.candidates`; a restriction speaks about layers in blocks under the position of the outermost layer
        around them, and not about layers with blocks, which compute nothing themselves."""
        p = self.places[index]
        allowed = None if self.has_blocks(p.layer) else restrict
        if allowed is not None and p.block:
            allowed = Elsewhere(allowed, p.position)
        found, refusals = p.net.candidates(p.index, threads, accuracy=accuracy, restrict=allowed,
                                           include_reference=include_reference)
        if self.has_blocks(p.layer):
            found = [c for c in found if c.algorithm == PROGRAM]
        return found, refusals

    @staticmethod
    def has_blocks(layer: Layer) -> bool:
        """True for a layer whose blocks are steps of the plan."""
        return kind_of(layer.kind).nested

    def reads(self, layer: Layer) -> tuple[str, ...]:
        """What a layer reads, a value per input port: of one with blocks what is no captured value, then what its blocks
        give it."""
        net = self.place[layer.name].net
        if not self.has_blocks(layer):
            return tuple(map(self.origin, net.dynamic(layer)))
        own = [v for v in self._fixed(layer) if v not in net.net.constants]
        made = [v for inner in net.nested[layer.name].values() for v in inner.net.outputs if v not in inner.net.constants]
        return tuple(map(self.origin, (*own, *made)))

    def ports(self, layer: Layer, candidate: Candidate) -> tuple[tuple[Format, ...], tuple[Format, ...]]:
        """The formats of what `reads` names, and of the layer's outputs."""
        if not self.has_blocks(layer):
            return candidate.ins, candidate.outs
        net = self.place[layer.name].net
        ins = [plain_format(net.spec(v).dtype, net.spec(v).rank) for v in self._fixed(layer) if v not in net.net.constants]
        for inner in net.nested[layer.name].values():
            formats = block_formats(layer, inner, candidate)
            ins += [f for v, f in zip(inner.net.outputs, formats) if v not in inner.net.constants]
        return tuple(ins), candidate.outs

    def uses(self, layer: Layer, candidate: Candidate) -> Iterator[tuple[str, Format]]:
        """(value, format) of what a layer reads where it is computed by a candidate, which may be one that runs no blocks."""
        if self.has_blocks(layer) and candidate.algorithm != PROGRAM:
            yield from zip(map(self.origin, self.place[layer.name].net.dynamic(layer)), candidate.ins)
        else:
            yield from zip(self.reads(layer), self.ports(layer, candidate)[0])

    def knows(self, value: str) -> bool:
        """True for a value of these nets that is no constant, under its outermost name."""
        return value in self._block_of and value not in self._origin

    @staticmethod
    def _fixed(layer: Layer) -> list[str]:
        kind = kind_of(layer.kind)
        count = kind.fixed(kind.complete(layer.attrs))  # type: ignore[attr-defined]
        return [v for v in layer.inputs[:count] if v]


def block_formats(layer: Layer, block: BoundNet, candidate: Candidate) -> list[Format]:
    """The formats in which a layer's routine wants the outputs of a block: those of its own outputs for branches, else
    row-major."""
    if kind_of(layer.kind).program == "branches":
        return list(candidate.outs)
    return [plain_format(block.spec(v).dtype, block.spec(v).rank) for v in block.net.outputs]


class Elsewhere:
    """A restriction as it applies to a layer in a block, under another position."""

    def __init__(self, restrict: Restrict, position: int):
        self._restrict, self._position = restrict, position

    def __call__(self, index: int, layer: Layer, candidate: Candidate) -> bool:
        return self._restrict(self._position, layer, candidate)

    def select(self, index: int, layer: Layer, found: list[Candidate]) -> list[Candidate]:
        """What is allowed; all of it where a descriptor that names no position leaves nothing."""
        select: Callable[..., list[Candidate]] | None = getattr(self._restrict, "select", None)
        if select is None:
            return [c for c in found if self(index, layer, c)]
        kept = [c for c in found if self(index, layer, c)]
        return kept or found


def formats_inside(flat: Flat, choices: Mapping[str, Candidate], layer: Layer) -> Iterator[tuple[str, Format]]:
    """(value, format) of what the blocks of a layer read, and of what they give, whatever net has made it."""
    inside = tuple(f"{layer.name}/{name}" for name in flat.place[layer.name].net.nested[layer.name])
    for place in flat.places:
        if any(place.block == b or place.block.startswith(b + "/") for b in inside):
            yield from flat.uses(place.layer, choices[place.layer.name])
    yield from flat.uses(layer, choices[layer.name])
