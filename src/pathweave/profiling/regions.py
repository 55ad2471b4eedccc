"""Nets with fused regions, for measuring what computes a region as a whole in its place."""

from __future__ import annotations

from collections.abc import Iterator

from ..regions import Region, disjoint
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate, Restrict


def fused_nets(bound: BoundNet, threads: int, accuracy: str,
               restrict: Restrict | None) -> Iterator[tuple[BoundNet, Restrict | None]]:
    """(net, restriction) until every region that a routine may compute was fused in one of the nets."""
    offers = {name: _allowed(bound, region, threads, accuracy, restrict) for name, region in bound.regions.items()}
    for group in disjoint(region for name, region in bound.regions.items() if offers[name]):
        names = [region.name for region in group]
        yield bound.fused(names), _only(bound, {n: offers[n] for n in names}, threads, accuracy, restrict)


def _allowed(bound: BoundNet, region: Region, threads: int, accuracy: str, restrict: Restrict | None) -> list[Candidate]:
    """Candidates for a region that a restriction leaves for each of its layers."""
    found = bound.region_candidates(region, threads, accuracy)
    if restrict is None or not found:
        return found
    select = getattr(restrict, "select", None)
    for member in region.layers:
        i = bound.index[member]
        layer = bound.layers[i]
        own = bound.candidates(i, threads, accuracy=accuracy, include_reference=True)[0]
        kept = select(i, layer, own + found) if select else [c for c in found if restrict(i, layer, c)]
        found = [c for c in found if any(c is k for k in kept)]
    return found


def _only(bound: BoundNet, offers: dict[str, list[Candidate]], threads: int, accuracy: str,
          restrict: Restrict | None) -> Restrict | None:
    """The restriction for a fused net, whose positions are others; None for none."""
    if restrict is None:
        return None
    keys = {name: {c.key for c in found} for name, found in offers.items()}
    for i, layer in enumerate(bound.layers):
        keys[layer.name] = {c.key for c in bound.candidates(i, threads, accuracy=accuracy, restrict=restrict)[0]}
    return lambda index, layer, candidate: candidate.key in keys[layer.name]
