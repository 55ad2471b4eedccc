"""The state of a profile run: for every distinct problem its candidates, their samples, and which need more of them.

A *slot* is one distinct problem of the net, with all layers that pose it. An *entry* is one candidate of a slot, with
its samples. See docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..locks import cached_property
from ..net.accuracy import COMMON, common_class
from ..net.format import Format
from ..net.net import Layer
from ..runtime.catalogue import Candidate
from .measurement import quantile
from .yardstick import uninterrupted

#: A candidate slower than DROP_FACTOR times the best of its problem is measured no more.
DROP_FACTOR = 3.0
#: A candidate within this factor of the best one with the same ports is a contender: more samples may change which is best.
CONTENDER = 1.5
#: A candidate that has so many samples from earlier runs needs no more; nor does one of a heavy layer from this run.
SETTLED = 3
#: So many samples are wanted of a contender, and at most so many of one candidate are kept per run.
WANTED, KEPT = 8, 24
#: A first run that is slower than the best by less than this (ns) may be slow because of cold memory.
COLD = 200_000
#: One that is slower by less than this (ns) may have been interrupted: it counts when a second one is too slow as well.
INTERRUPTION = 20_000_000


@dataclass
class Entry:
    """A candidate of one problem. `known`: samples of earlier runs; `samples`: of this one, ns at reference speed; `raw`:
    ns as the clock told them, with the moment of the run (0 where the yardstick says nothing about the clock). `state`:
    "open", "dropped" (too slow) or "failed" (`reason`). `memory`: bytes, once it was prepared. `estimate`: ns that it is
    expected to take; `stated`: whether its routine says what it does, so that this is more than a guess. `first`: ns of a first
    run that was too slow to be believed."""

    candidate: Candidate
    known: tuple[float, ...] = ()
    samples: list[float] = field(default_factory=list)
    raw: list[tuple[float, int]] = field(default_factory=list)
    state: str = "open"
    reason: str = ""
    memory: int = 0
    estimate: float = float("inf")
    stated: bool = False
    first: float = float("inf")
    _median: tuple[int, float] = (0, 0.0)

    def correct(self, slowness: Callable[[int], tuple[float, bool]]) -> None:
        """State the samples at reference speed, without interrupted ones. Those of moments when the speed changed count
        where there are no others."""
        found = [(ns, *(slowness(moment) if moment else (1.0, True))) for ns, moment in self.raw]
        self.samples = uninterrupted([ns / slow for ns, slow, steady in found if steady] or
                                     [ns / slow for ns, slow, _ in found])
        self._median = 0, 0.0

    @property
    def count(self) -> int:
        return len(self.known) + len(self.samples)

    @property
    def settled(self) -> bool:
        """True when earlier runs said enough: nothing is added."""
        return len(self.known) >= SETTLED

    @property
    def median(self) -> float:
        """Nanoseconds; infinite when nothing is known."""
        if not self.count:
            return float("inf")
        if self._median[0] != self.count:
            self._median = self.count, quantile(sorted([*self.known, *self.samples]), 0.5)
        return self._median[1]

    @property
    def usable(self) -> bool:
        return self.state != "failed"

    @property
    def ports(self) -> tuple[tuple[Format, ...], tuple[Format, ...]]:
        return self.candidate.ins, self.candidate.outs

    @cached_property
    def layout(self) -> str:
        """Layout of its rank-4 values; that of the first output where they differ; "plain" without any."""
        return next((f.layout for f in (*self.candidate.outs, *self.candidate.ins) if f.layout != "plain"), "plain")


class Slot:
    """A problem, the equal layers that pose it (none for an adapt), and its candidates, promising ones first."""

    def __init__(self, text: str, layers: list[Layer], candidates: list[Candidate], weight_bytes: int = 0):
        self.text, self.layers, self.weight_bytes = text, layers, weight_bytes
        self.entries = [Entry(c) for c in one_variant_each_first(candidates)]
        self.turn = 0

    def entry_of(self, candidate: Candidate) -> Entry:
        """The entry of a candidate that the slot has. Raises StopIteration, a fault of the caller, where it has not."""
        return next(e for e in self.entries if e.candidate.key == candidate.key)

    def find(self, candidate: Candidate) -> Entry | None:
        """The entry of a candidate, None where there is none."""
        return next((e for e in self.entries if e.candidate.key == candidate.key), None)

    @property
    def measured(self) -> list[Entry]:
        """Entries with at least one sample."""
        return [e for e in self.entries if e.count and e.usable]

    @property
    def best(self) -> float:
        """Smallest median, ns; infinite when nothing is measured."""
        return min((e.median for e in self.entries if e.usable), default=float("inf"))

    def surviving(self) -> list[Entry]:
        """Measured entries below DROP_FACTOR times the best: what a solver may choose with profit."""
        limit = DROP_FACTOR * self.best
        return [e for e in self.measured if e.median <= limit]

    def unmeasured(self) -> list[Entry]:
        return [e for e in self.entries if e.state == "open" and not e.count]

    def contenders(self) -> list[Entry]:
        """Entries whose rank more samples may change, least sampled first."""
        lowest: dict[tuple, float] = {}
        for e in self.measured:
            lowest[e.ports] = min(lowest.get(e.ports, e.median), e.median)
        return sorted((e for e in self.surviving() if e.state == "open" and not e.settled and e.count < WANTED and
                       len(e.raw) < KEPT and e.median <= CONTENDER * lowest[e.ports]), key=lambda e: e.count)

    def drop_slow(self) -> list[Entry]:
        """Drop entries above DROP_FACTOR times the best; gives those that were dropped now."""
        limit, dropped = DROP_FACTOR * self.best, []
        for e in self.entries:
            if e.state == "open" and e.count and e.median > limit:
                e.state = "dropped"
                dropped.append(e)
        return dropped


def one_variant_each_first(candidates: list[Candidate]) -> list[Candidate]:
    """The catalogue's order, but every routine's first variant before the second of any, of these the less accurate first:
    they were allowed because they may be faster, and the budget may end. References last."""
    seen: dict[str, int] = {}
    rank = {}
    for c in candidates:
        rank[c.key] = seen[c.routine] = seen.get(c.routine, -1) + 1
    return sorted(candidates, key=lambda c: (c.reference, rank[c.key], -COMMON.index(common_class(c.accuracy))))
