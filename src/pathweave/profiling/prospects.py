"""Prospects: what estimates say of candidates that were not measured, which of them come first, and which are left out.

An estimate (`runtime/estimates.py`) is never taken for a measurement: it says in which order candidates are measured, and which
of them need not be. Where a routine was measured on other problems, the ratio of its times and estimates corrects what is
expected of it here. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any

from ..runtime.bound import BoundNet
from ..runtime.catalogue import Restrict
from ..runtime.estimated import estimator_of
from ..runtime.estimates import Estimator
from ..words import counted
from .assign import Ports, remember
from .measurement import Key, Measurement
from .slots import Entry, Slot

#: Candidates that are estimated beyond BEYOND times the best estimate of their problem are measured last.
BEYOND = 3.0
#: So many of a problem, the best by estimate, are never left out because of an estimate.
KEPT_BEST = 2
#: What a routine took on at least SEEN problems corrects its estimates; it is sure to take no less than the mean ratio, less
#: SURE standard deviations of its logarithm, which are taken for at least SPREAD.
SEEN, SURE, SPREAD = 3, 3.0, 0.15

#: Nanoseconds of the conversions that are added where a candidate with the first ports gives way to one with the second.
Exchange = Callable[[Slot, Ports, Ports], float]


class Tier(IntEnum):
    """When a candidate is measured: those of a lower tier first. LOST: it cannot win, after all that was measured."""

    FIRST, PROMISING, UNKNOWN, BEYOND, LOST = range(5)


class Prospects:
    """The order of the candidates of some slots. `exchange`: what conversions cost, generously where they were not measured."""

    def __init__(self, slots: Iterable[Slot], exchange: Exchange):
        self.slots, self.exchange = list(slots), exchange
        self._best = {id(s): _best_estimates(s) for s in self.slots}
        self._ratios: dict[tuple, dict[str, float]] = {}
        self._rivals: dict[tuple, float] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take into account what was measured since."""
        found: dict[tuple, dict[str, list[float]]] = {}
        self._rivals = {}
        for slot in self.slots:
            for e in slot.measured:
                # A single first run may have been interrupted.
                if e.stated and (e.count > 1 or e.state == "open"):
                    found.setdefault(_routine(e), {}).setdefault(slot.text, []).append(math.log(e.median / e.estimate))
        self._ratios = {routine: {text: sum(logs) / len(logs) for text, logs in of.items()} for routine, of in found.items()}

    # ---- what is expected -------------------------------------------------------------------------------------------

    def times(self, slot: Slot, e: Entry) -> float:
        """How many times the best estimate of its problem a candidate is estimated at."""
        return e.estimate / self._least(slot)

    def expected(self, e: Entry) -> float:
        """Nanoseconds, by the estimate and by what the routine took on other problems."""
        logs = self._ratios.get(_routine(e), {}).values()
        return e.estimate * math.exp(sum(logs) / (len(logs) + 1))

    def at_least(self, e: Entry) -> float:
        """Nanoseconds that a candidate is sure to take; 0 where too little is known of its routine."""
        logs = list(self._ratios.get(_routine(e), {}).values())
        if not e.stated or len(logs) < SEEN:
            return 0.0
        mean = sum(logs) / len(logs)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1))
        low = mean - SURE * max(SPREAD, deviation) * math.sqrt(1 + 1 / len(logs))
        return e.estimate * math.exp(min(low, min(logs)))

    def rival(self, slot: Slot, ports: Ports) -> float:
        """Nanoseconds of what can stand in for any candidate with these ports: the best measured one, with the conversions from
        and to them. No route gains by a candidate that takes longer."""
        key = slot.text, id(slot), ports
        if key not in self._rivals:
            lowest: dict[Ports, float] = {}
            for e in slot.measured:
                lowest[e.ports] = min(lowest.get(e.ports, e.median), e.median)
            self._rivals[key] = min((ns + self.exchange(slot, ports, other) for other, ns in lowest.items()),
                                    default=float("inf"))
        return self._rivals[key]

    # ---- the order --------------------------------------------------------------------------------------------------

    def tier(self, slot: Slot, e: Entry) -> Tier:
        """When a candidate is measured."""
        best = self._best[id(slot)]
        if not best:
            return Tier.PROMISING
        kept = any(e is b for b in best)
        if not e.stated and not kept:
            return Tier.UNKNOWN
        if self.times(slot, e) > BEYOND:
            return Tier.LOST if not kept and self._lost(slot, e) else Tier.BEYOND
        return Tier.FIRST if kept else Tier.LOST if self._lost(slot, e) else Tier.PROMISING

    def waiting(self, slot: Slot, entries: Iterable[Entry], last: Tier) -> list[Entry]:
        """Of some entries of a slot those up to a tier, promising ones first."""
        found = [(tier, self.expected(e) if e.stated else 0.0, i, e)
                 for i, e in enumerate(entries) if (tier := self.tier(slot, e)) <= last]
        return [e for *_, e in sorted(found, key=lambda item: item[:3])]

    def weight(self, slot: Slot) -> float:
        """Nanoseconds that the layers of a slot take in a call, about."""
        least = slot.best
        return len(slot.layers) * (least if least < float("inf") else self._least(slot))

    def why(self, slot: Slot, e: Entry) -> str:
        """Why a candidate was not measured, in words."""
        tier = self.tier(slot, e)
        if tier is Tier.UNKNOWN or not e.stated:
            return "not measured: the time was over, and its routine does not say how long it takes"
        estimated = f"estimated at {self.times(slot, e):.1f} times the best"
        if tier is Tier.BEYOND:
            return f"not measured: {estimated}"
        if tier is Tier.LOST:
            logs = self._ratios[_routine(e)].values()
            low, high = (f"{math.exp(x):.1f}" for x in (min(logs), max(logs)))
            took = f"{low} times" if low == high else f"{low} to {high} times"
            return (f"not measured: {estimated}, and its routine took {took} its estimates for "
                    f"{counted(len(logs), 'other layer')}: it cannot win")
        return f"not measured: the time was over; {estimated}"

    def _lost(self, slot: Slot, e: Entry) -> bool:
        least = self.at_least(e)
        return least > slot.best and least > self.rival(slot, e.ports)

    def _least(self, slot: Slot) -> float:
        best = self._best[id(slot)]
        return best[0].estimate if best else min((e.estimate for e in slot.entries), default=1.0)


def _best_estimates(slot: Slot) -> list[Entry]:
    """The best of a slot by estimate, of different routines where there are: variants of one share what an estimate misses.
    None where no routine of it says what it does."""
    usable = [e for e in slot.entries if e.estimate < float("inf")]
    stated = sorted((e for e in usable if e.stated), key=lambda e: e.estimate)
    others = sorted((e for e in usable if not e.stated), key=lambda e: e.estimate)
    if not stated:
        return []
    seen: set[tuple[Any, ...]] = set()
    firsts: list[Entry] = []
    more: list[Entry] = []
    for e in [*stated, *others]:
        (more if _routine(e) in seen else firsts).append(e)
        seen.add(_routine(e))
    return [*firsts, *more][:KEPT_BEST]


def _routine(e: Entry) -> tuple[Any, ...]:
    c = e.candidate
    return c.problem.kind, c.routine, c.alone


def take_estimates(slot: Slot, estimator: Estimator) -> None:
    """Give the entries of a slot their estimates."""
    for e in slot.entries:
        e.estimate, e.stated = estimator.price(e.candidate), estimator.stated(e.candidate)


def slots_of(bound: BoundNet, threads: int, accuracy: str, restrict: Restrict | None, known: Mapping[Key, Measurement],
             idle: Iterable[str] = ()) -> list[Slot]:
    """A slot per layer of a bound net, with estimates and what earlier runs measured; equal problems share one. Its layers are
    those that are not `idle`."""
    slots: dict[str, Slot] = {}
    found, flat, idle, estimator = [], bound.flat, set(idle), estimator_of(bound, threads)
    for i, (place, problem) in enumerate(zip(flat.places, flat.problems(threads))):
        layer = place.layer
        candidates, _ = flat.candidates(i, threads, accuracy=accuracy, restrict=restrict)
        # Equal layers differ in their candidates only where a restriction names positions.
        key = problem.text + "".join(f"\n{c.key}" for c in candidates)
        if key not in slots:
            size = sum(a.nbytes for v in layer.inputs if (a := place.net.net.constants.get(v)) is not None)
            slots[key] = Slot(problem.text, [], candidates, size)
            remember(slots[key], known)
            take_estimates(slots[key], estimator)
        if layer.name not in idle:
            slots[key].layers.append(layer)
        found.append(slots[key])
    return found
