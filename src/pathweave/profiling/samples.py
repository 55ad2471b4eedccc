"""The samples of a profile run: which entry each time belongs to, at what speed it was taken, and what is written.

A sample is the time of one step in one run of a plan. It is kept as the clock told it, with the moment of the run, and
stated at the reference speed of the machine again and again, as later readings of the yardstick tell that speed better.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..runtime import catalogue
from ..runtime.bound import BoundNet
from ..runtime.plan import Plan
from .about import About
from .assign import Adapts, remember
from .devices import Devices, touched
from .measurement import Key, Measurement
from .reader import YardstickReader
from .slots import COLD, DROP_FACTOR, INTERRUPTION, KEPT, Entry, Slot
from .timed import RunTimer, StepTimes
from .yardstick import CALL, call_problem, on_cpu

#: Seconds between two transactions of the store.
FLUSH_S = 0.25
#: Stating all samples at the reference speed that is known by then, and writing them again, takes this share of the time.
RESTATE_SHARE = 0.04


class Samples:
    """Everything that one profile run measured. `slots`: one per layer, in the order of `bound.flat.layers`.

    `call`: the slot of what a call costs beside its steps. `measurements`: what was written, by the entry's identity, and
    the yardstick's under 0. `measured`: the keys of what was written. `write`: called with measurements, now and then; one
    with the id of an earlier one replaces it.
    """

    def __init__(self, bound: BoundNet, threads: int, slots: Sequence[Slot], adapts: Adapts, reader: YardstickReader, *,
                 known: Mapping[Key, Measurement], host: str, devices: Devices, write: Callable[[list[Measurement]], None],
                 timer: RunTimer):
        self.bound, self.slots, self.adapts, self.reader = bound, slots, adapts, reader
        self.host, self.write, self.timer = host, write, timer
        call = call_problem(bound, threads)
        self.call = Slot(call.text, [], [catalogue.Candidate(CALL, 1, "", call, call, (), ())])
        remember(self.call, known)
        self.measurements: dict[int, Measurement] = {}
        self.measured: set[Key] = set()
        self._sampled: dict[int, tuple[Slot, Entry]] = {}
        self._pending: set[int] = set()
        self._flushed = self._stated = timer.now()
        self._took = 0.0
        self.newest = False  # where an entry has all samples that are kept, new ones take the place of the oldest
        self._devices = devices

    def times(self, plan: Plan, chosen: Mapping[str, Entry], steps: Iterable[int],
              counts: Sequence[int] | None = None) -> tuple[list[tuple[Slot, Entry, float]], float]:
        """(slot, entry, ns) of one run of a plan, and the ns that belong to neither layer nor conversion. `counts`: of its
        steps; what did not run is left out."""
        times, flat = StepTimes.of(plan, steps, counts), self.bound.flat
        found = []
        for step, ns in times.adapts:
            slot = self.adapts.slot(flat.spec(flat.origin(step.value)), step.ins[0], step.outs[0])
            found.append((slot, next(e for e in slot.entries if (e.candidate.routine, e.candidate.variant) ==
                                     (step.routine, step.variant)), ns))
        for layer, slot in zip(flat.layers, self.slots):
            if counts is None or layer.name in times.layers:
                found.append((slot, chosen[layer.name], times.layers.get(layer.name, 0.0)))
        return found, times.other

    def drop_hopeless(self, plan: Plan, chosen: Mapping[str, Entry], moment: int, steps: Iterable[int],
                      counts: Sequence[int] | None = None) -> tuple[list[tuple[Slot, Entry]], float]:
        """Drop what is far too slow in its first run, keeping that time; gives what was dropped, and the ns that it took
        more than the best. What another process may have interrupted gets a second look in a later pass: it is given too."""
        slow, lost = [], 0.0
        for slot, entry, ns in self.times(plan, chosen, steps, counts)[0]:
            best = slot.best
            if entry.state == "open" and not entry.count and ns > DROP_FACTOR * best + COLD:
                slow.append((slot, entry))
                lost += ns - best
                if entry.first == float("inf") and ns <= DROP_FACTOR * best + INTERRUPTION:
                    entry.first = ns
                    continue
                self._sample(slot, entry, min(ns, entry.first), moment)
                self.correct([entry])
                entry.state = "dropped"
        return slow, lost

    def keep(self, plan: Plan, chosen: Mapping[str, Entry], moment: int, steps: list[int], total: int,
             counts: Sequence[int] | None = None) -> None:
        """Keep the times of one run: of its steps, and of what the call took beside them. `total`: ns of the call."""
        found, other = self.times(plan, chosen, steps, counts)
        for slot, entry, ns in found:
            self._sample(slot, entry, ns, moment)
        rest = total - sum(steps) + other
        if rest > 0 and all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):  # others have other clocks
            self._sample(self.call, self.call.entries[0], rest - self.reader.timer_ns, moment)
            self.correct(self.call.entries)

    def _sample(self, slot: Slot, entry: Entry, ns: float, moment: int) -> None:
        if entry.settled or len(entry.raw) >= KEPT and not self.newest:
            return
        del entry.raw[:max(0, len(entry.raw) - KEPT + 1)]
        follows = self.reader.session is not None and on_cpu((*entry.candidate.ins, *entry.candidate.outs))
        entry.raw.append((max(float(ns), 1.0), moment if follows else 0))
        self._sampled[id(entry)] = slot, entry
        self._pending.add(id(entry))

    def correct(self, entries: Iterable[Entry]) -> None:
        """State samples at the reference speed that is known now."""
        for entry in entries:
            entry.correct(self.reader.yardstick.slowness)

    def _correct_all(self) -> None:
        """State all samples at the reference speed that is known now, with the readings that came after them."""
        known: dict[int, tuple[float, bool]] = {}

        def slowness(moment: int) -> tuple[float, bool]:
            if moment not in known:
                known[moment] = self.reader.yardstick.slowness(moment)
            return known[moment]
        for key, (_, entry) in self._sampled.items():
            before = entry.samples
            entry.correct(slowness)
            if entry.samples != before:
                self._pending.add(key)

    # ---- to the store -----------------------------------------------------------------------------------------------

    def flush_when_due(self) -> None:
        """Hand over what was measured, where the last time is FLUSH_S ago; what is known better since too, where that takes
        little of the time."""
        now = self.timer.now()
        if now - self._flushed >= FLUSH_S:
            if (now - self._stated) * RESTATE_SHARE >= self._took:
                self.flush()
            else:
                self._write()

    def flush(self) -> None:
        """Hand over what was measured, or is known better, since the last time."""
        begin = self.timer.now()
        self._correct_all()
        self._write()
        self._stated = self.timer.now()
        self._took = self._stated - begin

    def _write(self) -> None:
        self._flushed = self.timer.now()
        if not self._pending:
            return
        new = [self._measurement(key) for key in self._pending]
        self._pending.clear()
        levels = self.reader.measurement(self._devices.host(self.host, ()))
        if levels:
            new.append(levels)
            self.measurements[0] = levels
        self.write(new)

    def _measurement(self, key: int) -> Measurement:
        """Everything that this run knows of an entry, under the same id each time."""
        slot, entry = self._sampled[key]
        c, earlier = entry.candidate, self.measurements.get(key)
        names = touched(c)
        about = About(c.ins, c.outs, c.accuracy, entry.memory, c.reference, not names.isdisjoint(self._devices.emulated),
                      self._devices.threads_matter(c)).text()
        self.measurements[key] = m = Measurement(self._devices.host(self.host, names), slot.text, *c.key, tuple(entry.samples),
                                                 self.timer.date(), id=earlier.id if earlier else uuid.uuid4().hex,
                                                 about=about)
        self.measured.add((slot.text, *c.key))
        return m
