"""How long the candidates of a net were measured so far: a budget is what they get in all, so that a known net is tuned fast.

The seconds are kept with the measurements, per set of candidates: another build, class or restriction has a budget of its own,
and so has another driver of a device, with which what was measured there before does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from ..runtime.bound import BoundNet
from ..timer import Timer
from .about import About
from .measurement import Key, Measurement
from .slots import Slot
from .yardstick import call_problem

#: Routine under which the time that was spent is kept; the samples are ns, one per run.
SPENT = "runtime/spent"
#: Of a budget less than this share left is none: it would end before anything was measured in it.
REST = 0.1


def spent_key(bound: BoundNet, threads: int, accuracy: str, slots: Iterable[Slot], tags: Mapping[str, str]) -> Key:
    """Where the time is kept that was spent on these candidates, and on those of the net's regions. `tags`: of devices, by
    name."""
    digest = hashlib.sha256()
    offered = {slot.text: [e.candidate for e in slot.entries] for slot in slots}
    for region in bound.regions.values():
        offered[bound.region_problem(region, threads).text] = bound.region_candidates(region, threads, accuracy)
    for text, candidates in sorted(offered.items()):
        digest.update("\n".join([text, *(" ".join(map(str, c.key)) for c in candidates), ""]).encode())
    digest.update("\n".join(sorted({tags[c.device] for found in offered.values() for c in found if c.device in tags})).encode())
    return call_problem(bound, threads).text, SPENT, 1, digest.hexdigest()[:16]


def seconds_of(known: Mapping[Key, Measurement], key: Key) -> float:
    """Seconds that earlier runs spent."""
    found = known.get(key)
    return sum(found.samples) / 1e9 if found else 0.0


def spent(host: str, key: Key, seconds: float, date: float) -> Measurement:
    """What the store keeps of one run's seconds. `date`: seconds since 1970."""
    return Measurement(host, *key, (max(1.0, 1e9 * seconds),), date, about=About((), ()).text())


class Work(Protocol):
    """`worked`: whether candidates waited."""

    worked: bool


class Purse:
    """The budget of one run over several nets. `left`: seconds of `budget_s` that earlier runs did not spend. `worked`: seconds
    that this run spent on candidates that waited."""

    def __init__(self, budget_s: float, key: Key, known: Mapping[Key, Measurement], start: float):
        self.key, self.start = key, start
        left = budget_s - seconds_of(known, key)
        self.left = left if left > REST * budget_s else 0.0
        self.worked = 0.0

    def until(self, now: float, share: float) -> float:
        """Seconds from now to the end of a share of what is left."""
        return max(0.0, self.start + share * self.left - now)

    @contextlib.contextmanager
    def paid(self, timer: Timer, work: Work) -> Iterator[None]:
        """While the block runs, the time is spent, where there is work."""
        begin = timer.now()
        try:
            yield
        finally:
            self.worked += timer.now() - begin if work.worked else 0.0

    def measurements(self, host: str, date: float) -> list[Measurement]:
        """What the store keeps of this run; nothing where no candidate waited."""
        return [spent(host, self.key, self.worked, date)] if self.worked > 0 else []
