"""Which candidates matter: for each tuple of port formats only the cheapest, ties inside the spread resolved."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from .contract import Candidate, Instance

Ports = tuple[tuple[str, ...], tuple[str, ...]]
by_cost = attrgetter("cost", "memory", "routine", "variant")
_by_memory = attrgetter("memory", "routine", "variant")


def representatives(candidates: Iterable[Candidate]) -> dict[Ports, Candidate]:
    """Port formats -> the one candidate to use with them, sorted by formats.

    A candidate ties with the cheapest of its ports when it costs no more than that plus that one's spread; among the
    tied, less memory wins, then the name.
    """
    best: dict[Ports, Candidate] = {}
    noisy = False
    candidates = list(candidates)
    for c in candidates:
        ports = (c.ins, c.outs)
        other = best.get(ports)
        if other is None or c.cost < other.cost or c.cost == other.cost and by_cost(c) < by_cost(other):
            best[ports] = c
            noisy = noisy or c.spread > 0
    if noisy:
        cheapest = dict(best)
        for c in candidates:
            ports = (c.ins, c.outs)
            low = cheapest[ports]
            if c.cost <= low.cost + low.spread and _by_memory(c) < _by_memory(best[ports]):
                best[ports] = c
    return dict(sorted(best.items()))


def consumed_values(instance: Instance) -> set[str]:
    """Values that a layer reads or the caller wants; the format of any other value is nobody's concern."""
    used = set(instance.outputs)
    for layer in instance.layers:
        used.update(layer.inputs)
    return used
