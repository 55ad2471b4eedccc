"""Passes of the profile run: a plan in which every layer uses one of its candidates, timed step by step.

A *run* (`Run`) is one profiling of one net; a *pass* is one plan of it, run a few times. What it measured is in `samples.py`,
what it keeps in memory in `kernels.py`, and the yardstick's part in `reader.py`. See docs/statistics.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import Error, NoRoutineError, OutOfMemoryError, RouteError
from ..net.net import Layer
from ..runtime import catalogue
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Restrict
from ..runtime.conversions import conversions_for
from ..runtime.defaults import default_choices
from ..runtime.inputs import arrays_for_outputs
from ..runtime.plan import Plan, build_plan
from ..runtime.session import Session
from .assign import Adapts, Assigner
from .devices import Devices
from .kernels import Kernels
from .measurement import Key, Measurement
from .prospects import Prospects, slots_of
from .reader import YardstickReader
from .rounds import Counts
from .samples import Samples
from .slots import Entry, Slot
from .timed import MACHINE, RunTimer

#: Seconds after the end of its time that a pass may go on, to finish what it began: native work is stopped then.
GRACE_S = 1.0
#: After its first run a plan runs three times; twice where a call takes LONG_NS, ns, or more, once from VERY_LONG_NS on.
LONG_NS, VERY_LONG_NS = 30e6, 120e6


class OutOfTime(Exception):
    """The time of a pass ended before anything of it was measured."""


def _runs_of(total: float) -> int:
    """Timed runs of a plan, beside the first one, whose call takes so many ns."""
    return 3 if total < LONG_NS else 2 if total < VERY_LONG_NS else 1


class Run:
    """One profile run over a bound net. `known`: what earlier runs measured, by (problem, routine, version, variant);
    `write`: called with measurements, now and then; one with the id of an earlier one replaces it. `timer`: of all
    that is measured. `lead`: the run over the net without fused regions, whose default route is this one's yardstick too.
    `counts`: of the blocks in the net, on these inputs; layers of those that never run are chosen and not measured. `devices`:
    under whose tags measurements are kept; None: those of here."""

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], *, accuracy: str, restrict: Restrict | None,
                 known: Mapping[Key, Measurement], host: str, write: Callable[[list[Measurement]], None],
                 timer: RunTimer = MACHINE, lead: Run | None = None, counts: Counts | None = None,
                 devices: Devices | None = None):
        self.bound, self.flat, self.threads, self.inputs = bound, bound.flat, threads, inputs
        self.counts = counts or Counts()
        self.idle = {p.layer.name for p in self.flat.places if not self.counts.ran(p.block)}
        self.accuracy, self.restrict, self.timer = accuracy, restrict, timer
        self.slots = slots_of(bound, threads, accuracy, restrict, known, self.idle)
        self._check()
        self.distinct = list({id(s): s for s in self.slots if s.layers}.values())
        self.kernels = Kernels(bound, self.slots)
        self.adapts = Adapts(threads, known)
        self.assigner = Assigner(bound, self.slots, self.adapts, self.idle)
        self.prospects = Prospects(self.distinct, self.assigner.exchange)
        # Zeros: a pass all of whose runs were too slow to repeat writes nothing.
        self.out = arrays_for_outputs(bound)
        self.finite = True
        self.runs = self.passes = 0
        self.lead: Run = lead or self
        self.reader: YardstickReader = lead.reader if lead else YardstickReader(bound, threads, inputs, self.out, known, timer)
        self.samples = Samples(bound, threads, self.slots, self.adapts, self.reader, known=known, host=host,
                               devices=devices or Devices.here(), write=write, timer=timer)
        self._until: float | None = None  # of the pass that runs, by the timer

    def _check(self) -> None:
        """Raise InputError for a word of the restriction without effect."""
        descriptors = getattr(self.restrict, "check", None)
        if descriptors:
            offered: list[list[catalogue.Candidate]] = [[] for _ in self.bound.layers]
            for place, s in zip(self.flat.places, self.slots):
                offered[place.position] += [*(e.candidate for e in s.entries), *self._regional(place.layer.name)]
            descriptors(self.bound.layers, offered)

    def _regional(self, layer: str) -> list[catalogue.Candidate]:
        """Candidates of the regions that a layer is a member of."""
        return [c for region in self.bound.regions.values() if layer in region.layers
                for c in self.bound.region_candidates(region, self.threads, self.accuracy)]

    # ---- one pass ---------------------------------------------------------------------------------------------------

    def base(self) -> dict[str, Entry]:
        """The default route: what a tuner can always fall back to."""
        fixed = {}
        for layer, slot in zip(self.flat.layers, self.slots):
            if not all(e.usable for e in slot.entries):
                self._last_resort(layer, slot)
                fixed[layer.name] = next(e.candidate for e in slot.entries if e.usable)
        choices = default_choices(self.bound, self.threads, self.accuracy, self.restrict, fixed)
        return {layer.name: slot.entry_of(choices[layer.name]) for layer, slot in zip(self.flat.layers, self.slots)}

    def perform(self, wanted: Mapping[str, Entry], until: float | None = None) -> None:
        """Run a plan with the wanted entries, and the best known ones elsewhere, and keep the times of its steps.

        The first run warms memory up. What is far too slow in it is dropped and replaced before the others. Samples are
        looked at when all runs are done, so that they follow each other as they do in use. `until`: by the timer; wanted
        entries that are not prepared by then wait for another pass. Raises OutOfTime where that leaves none, and where a
        run takes longer than GRACE_S after it.
        """
        if self.reader.key is None:
            self.reader.start(self.lead._default_plan())
        self._until = until
        try:
            with self._limit(until):
                self._pass(wanted)
        except TimeoutError:
            raise OutOfTime from None
        finally:
            self._until = None

    def _limit(self, until: float | None) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if until is None else self.timer.limit(until + GRACE_S - self.timer.now())

    def _late(self) -> bool:
        return self._until is not None and self.timer.now() > self._until

    def _pass(self, wanted: Mapping[str, Entry]) -> None:
        chosen, plan, session, steps, total, slow, lost = self._begin(wanted)
        counts = session.counts()
        runs = 1 if self._late() else _runs_of(total)
        if lost and (1 + runs) * (total - lost) < runs * total:  # a new plan costs less than the slow ones again
            wanted = {n: e for n, e in wanted.items() if not any(e is x for x in slow)}
            if wanted:
                chosen, plan, session, steps, total, slow, lost = self._begin(wanted)
                counts = session.counts()
            else:
                runs = 0
        taken = [(*self._timed(session), session.counts()) for _ in range(runs)]
        self.reader.catch_up()
        self.runs += runs
        for moment, steps, total, counts in taken:
            self.samples.keep(plan, chosen, moment, steps, total, counts)
        self.samples.correct(e for _, e, _ in self.samples.times(plan, chosen, steps, counts)[0])
        self.passes += 1
        self.finite &= all(a.dtype.kind != "f" or bool(np.isfinite(a).all()) for a in self.out.values())
        for slot in [*self.distinct, *self.adapts.slots.values()]:
            for entry in slot.drop_slow():
                self.kernels.forget(slot, entry)
        self.kernels.trim(chosen)
        self.samples.flush_when_due()

    def _begin(self, wanted: Mapping[str, Entry]) -> tuple[dict[str, Entry], Plan, Session, list[int], int, list[Entry], float]:
        """A plan, its session, and its first run: times of its steps and of the call, slow candidates, and what they took more
        than the best ones."""
        chosen, plan, session = self._plan(wanted)
        moment, steps, total = self._timed(session)
        self.runs += 1
        slow, lost = self.samples.drop_hopeless(plan, chosen, moment, steps, session.counts())
        for slot, entry in slow:
            if entry.state == "dropped":
                self.kernels.forget(slot, entry)
        return chosen, plan, session, steps, total, [e for _, e in slow], lost

    def leave_out(self, slots: list[Slot]) -> None:
        """Measure some slots no more: nothing of them runs on these inputs."""
        self.distinct = [s for s in self.distinct if s not in slots]
        self.idle |= {layer.name for s in slots for layer in s.layers}

    def _timed(self, session: Session) -> tuple[int, list[int], int]:
        return self.reader.timed(session, self.inputs, self.out)

    def _plan(self, wanted: Mapping[str, Entry]) -> tuple[dict[str, Entry], Plan, Session]:
        """A plan and its session; entries that cannot be prepared, or not in this company, are marked and replaced, those
        that cannot be in time are replaced. Raises OutOfTime where that leaves none of the wanted ones."""
        while True:
            chosen = self.assigner.complete({n: e for n, e in wanted.items() if e.usable})
            done = True
            for layer, slot in self._first(wanted):
                entry = chosen[layer.name]
                if wanted.get(layer.name) is entry and self._late() and not self.kernels.holds(layer, entry):
                    wanted = {x.name: e for x in self.flat.layers if (e := wanted.get(x.name)) is not None
                              and self.kernels.holds(x, e)}
                    if not wanted:
                        raise OutOfTime
                    done = False
                    break
                done = done and self._prepare(layer, slot, entry)
            if not done:
                continue
            choices = {n: e.candidate for n, e in chosen.items()}
            try:
                plan = build_plan(self.bound, choices, self.assigner.conversions(chosen), self.threads, self.kernels.cache)
                return chosen, plan, plan.session()
            except (RouteError, OutOfMemoryError) as e:
                self._blame(chosen, e)

    def _first(self, wanted: Mapping[str, Entry]) -> list[tuple[Layer, Slot]]:
        """All layers, those first for which an entry is wanted, in the order in which they are."""
        order = {name: i for i, name in enumerate(wanted)}
        return sorted(zip(self.flat.layers, self.slots), key=lambda item: order.get(item[0].name, len(order)))

    def _blame(self, chosen: Mapping[str, Entry], error: Error) -> None:
        """Mark who most likely keeps a plan from being made: of what never ran what takes most memory."""
        new = [(layer, slot, chosen[layer.name]) for layer, slot in zip(self.flat.layers, self.slots)
               if not chosen[layer.name].count]
        if not new:
            raise error
        layer, slot, entry = max(new, key=lambda found: found[2].memory)
        self._fail(layer, slot, entry, error)

    def _fail(self, layer: Layer, slot: Slot, entry: Entry, error: Error) -> None:
        """Mark an entry, and see that its layer has another one."""
        entry.state, entry.reason = "failed", str(error)
        self.kernels.forget(slot, entry)
        self._last_resort(layer, slot)

    def _last_resort(self, layer: Layer, slot: Slot) -> None:
        """The reference routines, where all other candidates of a layer failed."""
        if any(e.usable for e in slot.entries):
            return
        found, _ = self.flat.candidates(self.flat.layers.index(layer), self.threads, accuracy=self.accuracy,
                                        restrict=self.restrict, include_reference=True)
        slot.entries += [Entry(c) for c in found if c.reference and slot.find(c) is None]
        if not any(e.usable for e in slot.entries):
            raise NoRoutineError(f"layer {layer.name!r} ({layer.kind}): none of its candidates can be used; "
                                 f"{slot.entries[-1].candidate}: {slot.entries[-1].reason}")

    def _default_plan(self) -> Plan:
        """The default route with its own conversions, not with those that lack samples: the same in every run."""
        chosen, _, _ = self._plan(self.base())
        choices = {n: e.candidate for n, e in chosen.items()}
        conversions = conversions_for(self.bound, choices, self.threads)
        return build_plan(self.bound, choices, conversions, self.threads, self.kernels.cache)

    def _prepare(self, layer: Layer, slot: Slot, entry: Entry) -> bool:
        try:
            self.kernels.prepare(layer, entry, self.passes)
        except Error as e:
            if isinstance(e, KeyboardInterrupt):
                raise
            self._fail(layer, slot, entry, e)
            return False
        return True

    # ---- how far --------------------------------------------------------------------------------------------------

    def base_known(self) -> bool:
        """True when the default route is measured, its conversions included."""
        chosen = self.base()
        if any(not e.count for name, e in chosen.items() if name not in self.idle):
            return False
        return all(self.adapts.slot(self.flat.spec(c.value), c.source, c.target).best < float("inf")
                   for c in self.assigner.conversions(chosen) if self.counts.ran(self.flat.block_of(c.value)))

    def progress(self) -> tuple[int, int]:
        """Candidates measured, and all."""
        done = sum(1 for s in self.distinct for e in s.entries if e.count or e.state != "open")
        return done, sum(len(s.entries) for s in self.distinct)
