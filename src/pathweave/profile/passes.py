"""Passes of the profile run: a plan in which every layer uses one of its candidates, timed step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import Error, NoRoutineError, OutOfMemoryError, RouteError
from ..net.format import numpy_dtype
from ..net.net import Layer
from ..net.problem import Problem
from ..runtime import catalogue
from ..runtime.bound import BoundNet
from ..runtime.defaults import default_choices
from ..runtime.plan import Plan, Step, build_plan
from ..runtime.prepare import KernelCache
from .about import About
from .assign import Adapts, Assigner, remember
from .measurement import Measurement
from .slots import COLD, DROP, KEPT, Entry, Slot

#: Weights of a layer from which its candidates are measured one after the other instead of side by side, bytes.
HEAVY = 64 << 20
#: Packed constants that the prepared kernels may hold together, bytes.
PACKED = 4 << 30
#: Routine under which the time of a call that belongs to no step is kept.
CALL = "runtime/call"
#: Seconds between two transactions of the store.
FLUSH_S = 0.25


def timed_run(session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
    """Run once: nanoseconds of every step of the plan, and of the whole call. `out`: arrays that take the outputs."""
    start = time.perf_counter_ns()
    steps = session.run_timed(inputs, out)
    total = time.perf_counter_ns() - start
    return [int(ns) for ns in steps], total


def call_problem(bound: BoundNet, threads: int) -> Problem:
    """The problem under which the cost of a call outside its steps is kept: waking threads, checking arrays."""
    ins, outs = list(bound.inputs.values()), list(bound.outputs.values())
    return Problem.make("call", ins, [False] * len(ins), outs, {}, threads=threads)


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


class Run:
    """One profile run over a bound net. `known`: what earlier runs measured, by (problem, routine, version, variant);
    `write`: called with new measurements, now and then. `clock`: seconds."""

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], *, accuracy: str, restrict,
                 known: Mapping, host: str, write: Callable[[list[Measurement]], None],
                 clock: Callable[[], float] = time.monotonic):
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
        self.measurements: list[Measurement] = []
        self.out = {n: np.empty(s.shape, numpy_dtype(s.dtype)) for n, s in bound.outputs.items()}
        self.finite = True
        self.runs = self.passes = 0
        self.measured: set[tuple] = set()
        self._pending: dict[tuple[str, int], tuple[Slot, Entry, list[float]]] = {}
        self._flushed = clock()
        self._used: dict[tuple[str, tuple], int] = {}
        self._emulated = {d["name"] for d in _devices() if d["emulated"]}

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
        fixed = {layer.name: next(e.candidate for e in slot.entries if e.usable)
                 for layer, slot in zip(self.bound.layers, self.slots) if any(e.state == "failed" for e in slot.entries)}
        choices = default_choices(self.bound, self.threads, self.accuracy, self.restrict, fixed)
        return {layer.name: slot.find(choices[layer.name]) for layer, slot in zip(self.bound.layers, self.slots)}

    def perform(self, wanted: Mapping[str, Entry], runs: int | None = None) -> None:
        """Run a plan with the wanted entries, and the best known ones elsewhere, and keep the times of its steps.

        The first run warms memory up. What is far too slow in it is dropped and replaced before the others.
        """
        chosen, plan, session, steps, total, lost = self._begin(wanted)
        runs = runs or _runs_of(total)
        if lost and (1 + runs) * (total - lost) < runs * total:  # a new plan costs less than the slow ones again
            wanted = {n: e for n, e in wanted.items() if e.state == "open"}
            if wanted:
                chosen, plan, session, steps, total, lost = self._begin(wanted)
            else:
                runs = 0
        for _ in range(runs):
            steps, total = timed_run(session, self.inputs, self.out)
            self.runs += 1
            self._keep(plan, chosen, steps, total)
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
        steps, total = timed_run(session, self.inputs, self.out)
        self.runs += 1
        return chosen, plan, session, steps, total, self._first(plan, chosen, steps)

    def _plan(self, wanted: Mapping[str, Entry]) -> tuple[dict[str, Entry], Plan, Any]:
        """A plan and its session; entries that cannot be prepared are marked and replaced."""
        while True:
            chosen = self.assigner.complete({n: e for n, e in wanted.items() if e.usable})
            if all(self._prepare(layer, slot, chosen[layer.name])
                   for layer, slot in zip(self.bound.layers, self.slots)):
                break
        choices = {n: e.candidate for n, e in chosen.items()}
        plan = build_plan(self.bound, choices, self.assigner.conversions(chosen), self.threads, self.cache)
        return chosen, plan, plan.session()

    def _prepare(self, layer: Layer, slot: Slot, entry: Entry) -> bool:
        self._used[layer.name, entry.candidate.key] = self.passes
        try:
            steps = self.cache.layer(layer, entry.candidate)
        except (RouteError, OutOfMemoryError) as e:
            entry.state, entry.reason = "failed", str(e)
            if not any(other.usable for other in slot.entries):
                raise NoRoutineError(f"layer {layer.name!r} ({layer.kind}): none of its candidates can be prepared; the "
                                     f"last one: {e}") from e
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

    def _first(self, plan: Plan, chosen: Mapping[str, Entry], steps: Iterable[int]) -> float:
        """Drop what is far too slow in its first run, keeping that time; gives the ns lost against the best."""
        lost = 0.0
        for slot, entry, ns in self._times(plan, chosen, steps)[0]:
            best = slot.best
            if entry.state == "open" and not entry.count and ns > DROP * best + COLD:
                self._sample(slot, entry, ns)
                entry.state = "dropped"
                self._forget(slot, entry)
                lost += ns - best
        return lost

    def _keep(self, plan: Plan, chosen: Mapping[str, Entry], steps: list[int], total: int) -> None:
        found, other = self._times(plan, chosen, steps)
        for slot, entry, ns in found:
            self._sample(slot, entry, ns)
        rest = total - sum(steps) + other
        if rest > 0 and not any(f.device != "cpu" for s in plan.steps for f in (*s.ins, *s.outs)):  # other clocks
            self._sample(self.call, self.call.entries[0], rest)

    def _sample(self, slot: Slot, entry: Entry, ns: float) -> None:
        if entry.settled or len(entry.samples) >= KEPT:
            return
        ns = max(float(ns), 1.0)
        entry.samples.append(ns)
        self._pending.setdefault((slot.text, id(entry)), (slot, entry, []))[2].append(ns)

    def flush(self) -> None:
        """Hand over what was measured since the last time."""
        self._flushed = self.clock()
        if not self._pending:
            return
        now, new = time.time(), []
        for slot, entry, samples in self._pending.values():
            c = entry.candidate
            about = About(c.ins, c.outs, c.accuracy, entry.memory, c.reference, self._is_emulated(c)).text()
            new.append(Measurement(self.host, slot.text, *c.key, tuple(samples), now, about=about))
            self.measured.add((slot.text, *c.key))
        self._pending.clear()
        self.write(new)
        self.measurements += new

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
