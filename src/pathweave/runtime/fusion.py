"""Regions as the solver sees them: candidates of their layers that only fit each other.

What lies inside a region is in a format of the region's own, to and from which nothing converts. So a routine for the
whole is a candidate of the last member, with the price, beside candidates of the other members that cost nothing, and
the exact solver weighs it against routines for each layer without knowing that regions exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from ..net.format import Format
from ..net.variant import Variant
from ..regions import Region
from ..solvers import contract
from .bound import BoundNet
from .catalogue import Candidate

#: Routine of a layer that is computed as part of a region; its variant is the region's name.
MEMBER = "region"


def stands_for(token: str, region: str) -> bool:
    """True for a format inside of a region: its name, or NAME/NUMBER. Names may hold slashes themselves."""
    return bool(region) and (token == region or token.rpartition("/")[0] == region)


class HasPrice(Protocol):
    """A candidate with a price, wherever that is from."""

    @property
    def candidate(self) -> Candidate:
        """What is priced."""
        ...

    def to_solver(self) -> contract.Candidate:
        """What a solver sees of it."""
        ...


P = TypeVar("P", bound=HasPrice)


class Fusion(Generic[P]):
    """The priced candidates of every region of a bound net. `priced`: region name -> candidates, none empty."""

    def __init__(self, bound: BoundNet, priced: Mapping[str, list[P]]):
        self.bound, self.priced = bound, {name: found for name, found in priced.items() if found}
        self.regions: dict[str, Region] = {name: bound.regions[name] for name in self.priced}
        self._behind: dict[tuple[str, str, str], tuple[str, P]] = {}

    def around(self, layer: str) -> list[str]:
        """Names of the regions that a layer is a member of."""
        return [name for name, region in self.regions.items() if layer in region.layers]

    def formats(self) -> Iterable[tuple[str, Format]]:
        """(value, format) of every port of every candidate."""
        for name, region in self.regions.items():
            values = (*self.bound.dynamic(region.layer), *region.layer.outputs)
            for p in self.priced[name]:
                yield from zip(values, (*p.candidate.ins, *p.candidate.outs))

    def candidates(self, allowed: Callable[[P], bool]) -> dict[str, list[contract.Candidate]]:
        """Layer name -> what the regions add to its candidates."""
        added: dict[str, list[contract.Candidate]] = {}
        for name, found in self.priced.items():
            inside: set[str] = set()
            for p in found:
                if allowed(p):
                    for layer, candidate in self.members(name, p).items():
                        # Candidates with equal ports share those of the members before the last.
                        if layer == self.regions[name].last or candidate.outs[0] not in inside:
                            added.setdefault(layer, []).append(candidate)
                    inside.add(self._token(name, p))
        return added

    def members(self, name: str, p: P) -> dict[str, contract.Candidate]:
        """One candidate of a region as candidates of its members."""
        region, token = self.regions[name], self._token(name, p)
        ports = dict(zip(self.bound.dynamic(region.layer), map(str, p.candidate.ins)))
        ports |= dict(zip(region.layer.outputs, map(str, p.candidate.outs)))
        found = {}
        for member in region.layers:
            layer = self.bound.layers[self.bound.index[member]]
            ins = tuple(ports.get(v, token) for v in self.bound.dynamic(layer))
            outs = tuple(ports.get(v, token) for v in layer.outputs)
            if member == region.last:
                c = p.to_solver()
                found[member] = c._replace(variant=str(Variant.parse(c.variant).for_region(name)), ins=ins, outs=outs)
                self._behind[member, c.routine, found[member].variant] = name, p
            else:
                found[member] = contract.Candidate(MEMBER, token, ins, outs, 0.0)
        return found

    def behind(self, layer: str, choice: contract.Candidate) -> tuple[str, P] | None:
        """The region, and its candidate, that a choice of the solver for a layer stands for."""
        return self._behind.get((layer, choice.routine, choice.variant))

    def find(self, name: str, key: tuple[str, int, str]) -> P | None:
        """The candidate of a region with this key."""
        return next((p for p in self.priced.get(name, []) if p.candidate.key == key), None)

    def _token(self, name: str, p: P) -> str:
        """The format inside a region: one for all candidates with the same ports."""
        ports = list(dict.fromkeys((q.candidate.ins, q.candidate.outs) for q in self.priced[name]))
        number = ports.index((p.candidate.ins, p.candidate.outs))
        return f"{name}/{number}" if number else name
