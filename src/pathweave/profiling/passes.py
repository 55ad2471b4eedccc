"""Passes of the profile run: a plan in which every layer uses one of its candidates, timed step by step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import Error, NoRoutineError, OutOfMemoryError, RouteError
from ..net.net import Layer
from ..runtime import catalogue
from ..runtime.bound import BoundNet
from ..runtime.conversions import conversions_for
from ..runtime.defaults import default_choices
from ..runtime.inputs import arrays_for_outputs
from ..runtime.native import time_limit
from ..runtime.plan import Plan, Step, build_plan
from ..runtime.prepare import KernelCache
from .about import About
from .assign import Adapts, Assigner, remember
from .measurement import Key, Measurement, quantile
from .slots import COLD, DROP, KEPT, Entry, Slot
from .yardstick import Yardstick, call_problem, on_cpu, timed_call, yardstick_key

#: Weights of a layer from which its candidates are measured one after the other instead of side by side, bytes.
HEAVY = 64 << 20
#: Packed constants that the prepared kernels may hold together, bytes.
PACKED = 4 << 30
#: Routine under which the time of a call that belongs to no step is kept.
CALL = "runtime/call"
#: Seconds between two transactions of the store.
FLUSH_S = 0.25
#: Time of the yardstick as a share of the time of the runs between its readings, at most.
SHARE = 0.25
#: Readings at the start, and their time in ns after which they end before that; the very first one is thrown away.
FIRST_READINGS, FIRST_NS = 3, 300e6
#: Calls longer than this, ns, hide what a timer per step costs; runs of shorter ones that tell it, and their time, ns.
SHORT, LEAST_PAIRS, MOST_PAIRS, PAIRS_NS = 2e6, 8, 200, 20e6
#: Seconds after the end of its time that a pass may go on, to finish what it began: native work is stopped then.
GRACE_S = 1.0


class OutOfTime(Exception):
    """The time of a pass ended before anything of it was measured."""


def timed_run(session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
    """Run once: nanoseconds of every step of the plan, and of the whole call. `out`: arrays that take the outputs."""
    start = time.perf_counter_ns()
    steps = session.run_timed(inputs, out)
    total = time.perf_counter_ns() - start
    return [int(ns) for ns in steps], total


def _runs_of(total: float) -> int:
    """Timed runs of a plan whose call takes so many ns."""
    return 3 if total < 30e6 else 2 if total < 120e6 else 1


class StepTimes(NamedTuple):
    """One run of a plan. `layers`: name -> ns, epilogue steps included. `adapts`: (step, ns) of every conversion.
    `other`: ns of steps that are neither."""

    layers: dict[str, float]
    adapts: list[tuple[Step, float]]
    other: float

    @staticmethod
    def of(plan: Plan, steps: Iterable[int]) -> StepTimes:
        """From the times that `timed_run` gave."""
        layers: dict[str, float] = {}
        adapts, other = [], 0.0
        for step, ns in zip(plan.steps, steps):
            if not step.value:
                layers[step.layer] = layers.get(step.layer, 0.0) + ns
            elif step.problem.startswith("adapt "):
                adapts.append((step, float(ns)))
            else:
                other += ns
        return StepTimes(layers, adapts, other)


class Pace:
    """Reads the yardstick between the runs of one profile run, at a limited cost.

    `stick`: the readings. `timer_ns`: what a call takes longer because of the timer per step. No reading is ever taken
    of a route that is not all on the CPU.
    """

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], out: Mapping[str, Any], known: Mapping):
        self.bound, self.threads, self.inputs, self.out, self.known = bound, threads, inputs, out, known
        self.key: Key | None = None
        self.stick = Yardstick()
        self.session: Any = None
        self.timer_ns = 0.0
        self.id = uuid.uuid4().hex
        self._worked = self._spent = 0.0

    def name(self, choices: Mapping[str, Any]) -> Key:
        """Where the readings of these choices are kept; the first call decides."""
        if self.key is None:
            self.key = yardstick_key(self.bound, self.threads, choices)
            earlier = self.known.get(self.key)
            self.stick = Yardstick(earlier.samples if earlier else ())
        return self.key

    def start(self, plan: Plan) -> None:
        """Take the default route's plan, and the first readings."""
        self.name(plan.choices)
        if not all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):
            return
        self.session = plan.session()
        timed_call(self.session, self.inputs, self.out)
        for _ in range(FIRST_READINGS):
            self._read()
            if self._spent > FIRST_NS:
                break
        short = quantile(sorted(self.stick.levels()), 0.5)
        if short < SHORT:
            pairs = int(min(MOST_PAIRS, max(LEAST_PAIRS, PAIRS_NS / (2 * short))))
            self.timer_ns = max(0.0, quantile(sorted(self._pair() for _ in range(pairs)), 0.5))

    def _pair(self) -> float:
        """Nanoseconds that a call with a timer per step takes more than the one before it without."""
        plain = timed_call(self.session, self.inputs, self.out)
        return float(timed_run(self.session, self.inputs, self.out)[1] - plain)

    def _read(self) -> None:
        steps, total = timed_run(self.session, self.inputs, self.out)
        self._spent += total
        self.stick.read(steps)

    def timed(self, session) -> tuple[int, list[int], int]:
        """A timed run, after a reading where that is due: its moment, times of its steps and of the whole call."""
        self.catch_up()
        moment = self.stick.tick()
        steps, total = timed_run(session, self.inputs, self.out)
        self._worked += total
        return moment, steps, total

    def catch_up(self) -> None:
        """A reading, where the runs since the last one were long enough for it."""
        if self.session is not None and self._spent <= SHARE * self._worked + FIRST_NS / 10:
            self._read()

    def measurement(self, host: str) -> Measurement | None:
        """The levels of this run; None before the first reading."""
        if not len(self.stick) or self.key is None:
            return None
        return Measurement(host, *self.key, tuple(self.stick.levels()), time.time(), id=self.id,
                           about=About((), ()).text())


class Run:
    """One profile run over a bound net. `known`: what earlier runs measured, by (problem, routine, version, variant);
    `write`: called with measurements, now and then; one with the id of an earlier one replaces it. `clock`: seconds.
    `lead`: the run over the net without fused regions, whose default route is the yardstick of this one too."""

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], *, accuracy: str, restrict,
                 known: Mapping, host: str, write: Callable[[list[Measurement]], None],
                 clock: Callable[[], float] = time.monotonic, lead: Run | None = None):
        self.bound, self.threads, self.inputs, self.host = bound, threads, inputs, host
        self.accuracy, self.restrict, self.write, self.clock = accuracy, restrict, write, clock
        self.cache = KernelCache(bound)
        self.slots = self._slots(known)
        self.distinct = list({id(s): s for s in self.slots}.values())
        self.adapts = Adapts(threads, known)
        self.assigner = Assigner(bound, self.slots, self.adapts)
        call = call_problem(bound, threads)
        self.call = Slot(call.text, [], [catalogue.Candidate(CALL, 1, "", call, call, (), ())])
        remember(self.call, known)
        #: By the entry's identity, and the yardstick's under 0.
        self.measurements: dict[int, Measurement] = {}
        # Zeros: a pass all of whose runs were too slow to repeat writes nothing.
        self.out = arrays_for_outputs(bound)
        self.finite = True
        self.runs = self.passes = 0
        self.measured: set[tuple] = set()
        self.lead = lead or self
        self.pace = lead.pace if lead else Pace(bound, threads, inputs, self.out, known)
        self._sampled: dict[int, tuple[Slot, Entry]] = {}
        self._pending: set[int] = set()
        self._flushed = clock()
        self._used: dict[tuple[str, tuple], int] = {}
        self._emulated = {d["name"] for d in _devices() if d["emulated"]}
        self._until: float | None = None  # of the pass that runs, by the clock

    def _slots(self, known: Mapping) -> list[Slot]:
        """A slot per layer; equal problems share one."""
        slots: dict[str, Slot] = {}
        found = []
        for i, (layer, problem) in enumerate(zip(self.bound.layers, self.bound.problems(self.threads))):
            candidates, _ = self.bound.candidates(i, self.threads, accuracy=self.accuracy, restrict=self.restrict)
            # Equal layers differ in their candidates only where a restriction names positions.
            key = problem.text + "".join(f"\n{c.key}" for c in candidates)
            if key not in slots:
                size = sum(a.nbytes for v in layer.inputs if (a := self.bound.net.constants.get(v)) is not None)
                slots[key] = Slot(problem.text, [], candidates, size)
                remember(slots[key], known)
            slots[key].layers.append(layer)
            found.append(slots[key])
        descriptors = getattr(self.restrict, "check", None)
        if descriptors:
            descriptors(self.bound.layers, [[*(e.candidate for e in s.entries), *self._regional(layer.name)]
                                            for layer, s in zip(self.bound.layers, found)])
        return found

    def _regional(self, layer: str) -> list[catalogue.Candidate]:
        """Candidates of the regions that a layer is a member of."""
        return [c for region in self.bound.regions.values() if layer in region.layers
                for c in self.bound.region_candidates(region, self.threads, self.accuracy)]

    # ---- one pass ---------------------------------------------------------------------------------------------------

    def base(self) -> dict[str, Entry]:
        """The default route: what a tuner can always fall back to."""
        fixed = {}
        for layer, slot in zip(self.bound.layers, self.slots):
            if not all(e.usable for e in slot.entries):
                self._last_resort(layer, slot)
                fixed[layer.name] = next(e.candidate for e in slot.entries if e.usable)
        choices = default_choices(self.bound, self.threads, self.accuracy, self.restrict, fixed)
        return {layer.name: slot.find(choices[layer.name]) for layer, slot in zip(self.bound.layers, self.slots)}

    def perform(self, wanted: Mapping[str, Entry], until: float | None = None) -> None:
        """Run a plan with the wanted entries, and the best known ones elsewhere, and keep the times of its steps.

        The first run warms memory up. What is far too slow in it is dropped and replaced before the others. Samples are
        looked at when all runs are done, so that they follow each other as they do in use. `until`: by the clock; wanted
        entries that are not prepared by then wait for another pass. Raises OutOfTime where that leaves none, and where a
        run takes longer than GRACE_S after it.
        """
        if self.pace.key is None:
            self.pace.start(self.lead._default_plan())
        left = None if until is None or self.clock is not time.monotonic else until + GRACE_S - self.clock()
        self._until = until
        try:
            with time_limit(left):
                self._pass(wanted)
        except TimeoutError:
            raise OutOfTime from None
        finally:
            self._until = None

    def _late(self) -> bool:
        return self._until is not None and self.clock() > self._until

    def _pass(self, wanted: Mapping[str, Entry]) -> None:
        chosen, plan, session, steps, total, lost = self._begin(wanted)
        runs = 1 if self._late() else _runs_of(total)
        if lost and (1 + runs) * (total - lost) < runs * total:  # a new plan costs less than the slow ones again
            wanted = {n: e for n, e in wanted.items() if e.state == "open"}
            if wanted:
                chosen, plan, session, steps, total, lost = self._begin(wanted)
            else:
                runs = 0
        taken = [self.pace.timed(session) for _ in range(runs)]
        self.pace.catch_up()
        self.runs += runs
        for moment, steps, total in taken:
            self._keep(plan, chosen, moment, steps, total)
        self._correct(e for _, e, _ in self._times(plan, chosen, steps)[0])
        self.passes += 1
        self.finite &= all(a.dtype.kind != "f" or bool(np.isfinite(a).all()) for a in self.out.values())
        for slot in [*self.distinct, *self.adapts.slots.values()]:
            for entry in slot.drop_slow():
                self._forget(slot, entry)
        self._trim(chosen)
        if self.clock() - self._flushed >= FLUSH_S:
            self.flush()

    def _begin(self, wanted: Mapping[str, Entry]):
        """A plan, its session, and its first run: times of its steps and of the call, and what slow candidates took more
        than the best ones."""
        chosen, plan, session = self._plan(wanted)
        moment, steps, total = self.pace.timed(session)
        self.runs += 1
        return chosen, plan, session, steps, total, self._first(plan, chosen, moment, steps)

    def _plan(self, wanted: Mapping[str, Entry]) -> tuple[dict[str, Entry], Plan, Any]:
        """A plan and its session; entries that cannot be prepared, or not in this company, are marked and replaced, those
        that cannot be in time are replaced. Raises OutOfTime where that leaves none of the wanted ones."""
        while True:
            chosen = self.assigner.complete({n: e for n, e in wanted.items() if e.usable})
            done = True
            for layer, slot in zip(self.bound.layers, self.slots):
                entry = chosen[layer.name]
                if wanted.get(layer.name) is entry and self._late() and not self.cache.holds(layer, entry.candidate):
                    wanted = {x.name: e for x in self.bound.layers if (e := wanted.get(x.name)) is not None
                              and self.cache.holds(x, e.candidate)}
                    if not wanted:
                        raise OutOfTime
                    done = False
                    break
                done = done and self._prepare(layer, slot, entry)
            if not done:
                continue
            choices = {n: e.candidate for n, e in chosen.items()}
            try:
                plan = build_plan(self.bound, choices, self.assigner.conversions(chosen), self.threads, self.cache)
                return chosen, plan, plan.session()
            except (RouteError, OutOfMemoryError) as e:
                self._blame(chosen, e)

    def _blame(self, chosen: Mapping[str, Entry], error: Error) -> None:
        """Mark who most likely keeps a plan from being made: of what never ran what takes most memory."""
        new = [(layer, slot, chosen[layer.name]) for layer, slot in zip(self.bound.layers, self.slots)
               if not chosen[layer.name].count]
        if not new:
            raise error
        layer, slot, entry = max(new, key=lambda found: found[2].memory)
        self._fail(layer, slot, entry, error)

    def _fail(self, layer: Layer, slot: Slot, entry: Entry, error: Error) -> None:
        """Mark an entry, and see that its layer has another one."""
        entry.state, entry.reason = "failed", str(error)
        self._forget(slot, entry)
        self._last_resort(layer, slot)

    def _last_resort(self, layer: Layer, slot: Slot) -> None:
        """The reference routines, where all other candidates of a layer failed."""
        if any(e.usable for e in slot.entries):
            return
        found, _ = self.bound.candidates(self.bound.index[layer.name], self.threads, accuracy=self.accuracy,
                                         restrict=self.restrict, include_reference=True)
        slot.entries += [Entry(c) for c in found if c.reference and slot.find(c) is None]
        if not any(e.usable for e in slot.entries):
            raise NoRoutineError(f"layer {layer.name!r} ({layer.kind}): none of its candidates can be used; "
                                 f"{slot.entries[-1].candidate}: {slot.entries[-1].reason}")

    def _default_plan(self) -> Plan:
        """The default route with its own conversions, not with those that lack samples: the same in every run."""
        chosen, _, _ = self._plan(self.base())
        choices = {n: e.candidate for n, e in chosen.items()}
        return build_plan(self.bound, choices, conversions_for(self.bound, choices, self.threads), self.threads, self.cache)

    def _prepare(self, layer: Layer, slot: Slot, entry: Entry) -> bool:
        self._used[layer.name, entry.candidate.key] = self.passes
        try:
            steps = self.cache.layer(layer, entry.candidate)
        except Error as e:
            if isinstance(e, KeyboardInterrupt):
                raise
            self._fail(layer, slot, entry, e)
            return False
        entry.memory = sum(p.kernel.packed_bytes + p.kernel.workspace_bytes for p in steps)
        return True

    # ---- samples ----------------------------------------------------------------------------------------------------

    def _times(self, plan: Plan, chosen: Mapping[str, Entry], steps: Iterable[int]):
        """(slot, entry, ns) of one run, and what belongs to neither layer nor conversion."""
        times = StepTimes.of(plan, steps)
        found = []
        for step, ns in times.adapts:
            slot = self.adapts.slot(self.bound.spec(step.value), step.ins[0], step.outs[0])
            found.append((slot, next(e for e in slot.entries if (e.candidate.routine, e.candidate.variant) ==
                                     (step.routine, step.variant)), ns))
        for layer, slot in zip(self.bound.layers, self.slots):
            found.append((slot, chosen[layer.name], times.layers.get(layer.name, 0.0)))
        return found, times.other

    def _first(self, plan: Plan, chosen: Mapping[str, Entry], moment: int, steps: Iterable[int]) -> float:
        """Drop what is far too slow in its first run, keeping that time; gives the ns lost against the best."""
        lost = 0.0
        for slot, entry, ns in self._times(plan, chosen, steps)[0]:
            best = slot.best
            if entry.state == "open" and not entry.count and ns > DROP * best + COLD:
                self._sample(slot, entry, ns, moment)
                self._correct([entry])
                entry.state = "dropped"
                self._forget(slot, entry)
                lost += ns - best
        return lost

    def _keep(self, plan: Plan, chosen: Mapping[str, Entry], moment: int, steps: list[int], total: int) -> None:
        found, other = self._times(plan, chosen, steps)
        for slot, entry, ns in found:
            self._sample(slot, entry, ns, moment)
        rest = total - sum(steps) + other
        if rest > 0 and all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):  # others have other clocks
            self._sample(self.call, self.call.entries[0], rest - self.pace.timer_ns, moment)
            self._correct(self.call.entries)

    def _sample(self, slot: Slot, entry: Entry, ns: float, moment: int) -> None:
        if entry.settled or len(entry.raw) >= KEPT:
            return
        follows = self.pace.session is not None and on_cpu((*entry.candidate.ins, *entry.candidate.outs))
        entry.raw.append((max(float(ns), 1.0), moment if follows else 0))
        self._sampled[id(entry)] = slot, entry
        self._pending.add(id(entry))

    def _correct(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            entry.correct(self.pace.stick.slowness)

    def _correct_all(self) -> None:
        """State all samples at the reference speed that is known now, with the readings that came after them."""
        known: dict[int, tuple[float, bool]] = {}

        def slowness(moment: int) -> tuple[float, bool]:
            if moment not in known:
                known[moment] = self.pace.stick.slowness(moment)
            return known[moment]
        for key, (_, entry) in self._sampled.items():
            before = entry.samples
            entry.correct(slowness)
            if entry.samples != before:
                self._pending.add(key)

    def flush(self) -> None:
        """Hand over what was measured, or is known better, since the last time."""
        self._flushed = self.clock()
        self._correct_all()
        if not self._pending:
            return
        new = [self._measurement(key) for key in self._pending]
        self._pending.clear()
        pace = self.pace.measurement(self.host)
        if pace:
            new.append(pace)
            self.measurements[0] = pace
        self.write(new)

    def _measurement(self, key: int) -> Measurement:
        """Everything that this run knows of an entry, under the same id each time."""
        slot, entry = self._sampled[key]
        c, earlier = entry.candidate, self.measurements.get(key)
        about = About(c.ins, c.outs, c.accuracy, entry.memory, c.reference, self._is_emulated(c)).text()
        self.measurements[key] = m = Measurement(self.host, slot.text, *c.key, tuple(entry.samples), time.time(),
                                                 id=earlier.id if earlier else uuid.uuid4().hex, about=about)
        self.measured.add((slot.text, *c.key))
        return m

    def _is_emulated(self, c: catalogue.Candidate) -> bool:
        return c.device in self._emulated or any(f.device in self._emulated for f in (*c.ins, *c.outs))

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _forget(self, slot: Slot, entry: Entry) -> None:
        for layer in slot.layers:
            self.cache.drop(layer, entry.candidate)

    def _trim(self, chosen: Mapping[str, Entry]) -> None:
        """Drop kernels, those not used for longest first, until what is packed fits."""
        for slot in self.distinct:
            if slot.weight_bytes >= HEAVY:
                for e in slot.entries:
                    if e.median > slot.best and not any(chosen[layer.name] is e for layer in slot.layers):
                        self._forget(slot, e)
        if self.cache.packed_bytes <= PACKED:
            return
        by_name = {layer.name: (layer, slot) for layer, slot in zip(self.bound.layers, self.slots)}
        for (name, key), _ in sorted(self._used.items(), key=lambda item: item[1]):
            layer, slot = by_name[name]
            entry = next(e for e in slot.entries if e.candidate.key == key)
            if chosen[name] is not entry:
                self.cache.drop(layer, entry.candidate)
                if self.cache.packed_bytes <= PACKED // 2:
                    return

    # ---- how far --------------------------------------------------------------------------------------------------

    def base_known(self) -> bool:
        """True when the default route is measured, its conversions included."""
        chosen = self.base()
        if any(not e.count for e in chosen.values()):
            return False
        return all(self.adapts.slot(self.bound.spec(c.value), c.source, c.target).best < float("inf")
                   for c in self.assigner.conversions(chosen))

    def progress(self) -> tuple[int, int]:
        """Candidates measured, and all."""
        done = sum(1 for s in self.distinct for e in s.entries if e.count or e.state != "open")
        return done, sum(len(s.entries) for s in self.distinct)


def _devices() -> list[dict]:
    from ..runtime.devices import devices
    try:
        return devices()
    except Error:
        return []
