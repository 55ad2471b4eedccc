"""The profile protocol: times of all candidates of a net, measured in place, in the whole net (DESIGN section 5).

Four kinds of passes, each a run of the whole net with a timer per step: the default route; every candidate once, layer
by layer in one layout so that few conversions are paid; the conversions that a solver may ask for; and contenders again
and again, in turn, until chance is ruled out or the budget is spent. Between the runs the default route is run as a
yardstick, and every sample is stated at the reference speed of the machine. For throughput all runs, those of the yardstick
too, take place while other sessions run the same plan (`load.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from ..errors import InterruptedTuning, StoreError
from ..net.format import FORMS
from ..net.objective import LATENCY
from ..net.problem import adapt_problem
from ..net.size import check_seconds
from ..options import options_checked
from ..progress import Progress, progress_bar
from ..runtime.arguments import AnyModel, AnyRestrict, Shapes
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Restrict
from ..runtime.fingerprint import HostFingerprint
from ..runtime.fingerprint import this_host as this_host
from ..runtime.inputs import random_inputs
from ..runtime.layouts import host_formats
from ..words import counted
from .devices import Devices
from .kernels import HEAVY
from .measurement import PROTOCOL, Key, Measurement, quantile
from .passes import OutOfTime, Run
from .profile import Profile
from .prospects import Tier
from .regions import fused_nets
from .rounds import Counts, idle_blocks, keys_of, lazily, net_text, probe
from .slots import SETTLED, Entry, Slot
from .spent import SPENT, Purse, spent_key
from .store import AnyStore, Store
from .timed import MACHINE, RunTimer
from .yardstick import call_problem

#: Shares of the budget after which `explore`, `convert` and `explore` again end.
EXPLORE, CONVERT, EXPLORE_AGAIN = 0.6, 0.8, 0.9
#: Where earlier runs left no candidate out, TOUCH_UP of the budget is spent on more samples, if TOUCH_UPS runs fit in.
TOUCH_UP, TOUCH_UPS = 0.02, 20
#: So many passes of the best candidates beside each other.
TOGETHER = 4
#: Seconds of the usual budget: where it is longer, candidates are measured too that cannot win, after what was measured.
USUAL_S = 30.0
#: Share of the budget for the net without fused regions, where there are regions.
SINGLE = 0.75


@contextlib.contextmanager
def opened(store: AnyStore) -> Iterator[Store]:
    """A Store: the one given, one at a path, or the user's. Raises StoreError when it cannot be written."""
    if isinstance(store, Store):
        yield store
        return
    if store is not None and not isinstance(store, (str, os.PathLike)):
        raise StoreError(f"store: expected a Store, the path of one, or None for the user's, got {type(store).__name__}")
    mine = Store.open(store)
    try:
        if mine.warning:
            warnings.warn(mine.warning, stacklevel=4)
        yield mine
    finally:
        mine.close()


@options_checked
def profile(model: AnyModel, *, budget_s: float = 30, threads: int | None = None, accuracy: str = "f32",
            shapes: Shapes = None, restrict: AnyRestrict = None, store: AnyStore = None,
            progress: bool | Progress = True, verify: bool = False, timer: RunTimer = MACHINE, objective: str = LATENCY,
            sessions: int | None = None) -> Profile:
    """Measure every candidate of a model's main net on this machine, in place; what the store knows is used again.

    `model`: a model, or a path. `shapes`: as in `pathweave.plan`. `restrict`: routine descriptors. `store`: a Store or
    the path of one (None: the user's). `progress`: False, True (a bar, on a terminal), or a callback (0..1, text).
    `verify`: compare each candidate with the layer's meaning in float64 first; wrong ones are left out. `budget_s`:
    seconds after which no pass is started; a candidate for every layer is measured in any case. `notes` of the result say
    what was done. `timer`: what all times are taken from. Raises InputError, RouteError, StoreError, and
    InterruptedTuning on Ctrl-C, when all that was measured is kept.
    """
    from ..runtime.calibrate import warn_uncalibrated
    from ..runtime.descriptor import restriction
    from ..runtime.model import load
    loaded = load(model)
    aim = loaded.aim(objective, sessions, threads)
    check_seconds(budget_s, "budget_s")
    bound = loaded.bind(shapes)
    warn_uncalibrated(bound, accuracy, aim.threads, 3)
    with opened(store) as kept, progress_bar(progress, "profiling") as tell, timer.under_load(aim.at_once) as used:
        return profile_bound(bound, threads=aim.threads, budget_s=budget_s, accuracy=accuracy, restrict=restriction(restrict),
                             store=kept, progress=tell, verify=verify, timer=used, sessions=aim.at_once)


def problems_of(bound: BoundNet, threads: int) -> list[str]:
    """Texts of all problems that a profile of a bound net is about, conversions on and between the devices included."""
    from ..runtime.devices import devices
    flat = bound.flat
    texts = {p.text: None for p in flat.problems(threads)}
    texts |= {bound.region_problem(region, threads).text: None for region in bound.regions.values()}
    names = [d["name"] for d in devices() if d["available"]]
    values = [*flat.given, *(v for layer in flat.layers for v in layer.outputs)]
    border = {v: (form,) for v, form in (*((v, bound.input_format(v)) for v in bound.inputs),
                                        *((v, bound.output_format(v)) for v in bound.outputs))}
    for spec, scaled, of_caller in {(flat.spec(v), v in bound.scales, border.get(v, ())): None for v in values}:
        formats = [form._replace(device=name) for name in names for form in host_formats(spec, scaled)]
        formats += [form for form in of_caller if form not in formats]
        pairs = list(itertools.permutations(formats, 2))
        plain = [f for f in formats if f.dtype == "f32"]
        for form in FORMS if plain else ():  # to and from f32, and among layouts
            stored = [f._replace(dtype=form) for f in plain]
            pairs += [*itertools.product(plain, stored), *itertools.product(stored, plain),
                      *itertools.permutations(stored, 2)]
        for source, target in pairs:
            texts[adapt_problem(spec, source, target, threads).text] = None
    texts |= {call_problem(net, threads).text: None for net in bound.everything()}
    if bound.opened is not None:
        texts[net_text(bound, threads)] = None
    return list(texts)


def of_store(store: Store, bound: BoundNet, threads: int, sessions: int = 1) -> Profile:
    """What a store knows about a net on this machine, at the sizes at which it was measured, beside so many sessions."""
    host_id, current = this_host().id, Devices.here(sessions).current
    found = Profile.of_store(store, host_id, problems_of(bound, threads), current)
    seen = bound.at_sizes(Counts.of(bound, found, threads).sizes)
    return found if seen is bound else Profile.of_store(store, host_id, problems_of(seen, threads), current)


def profile_bound(bound: BoundNet, *, threads: int, budget_s: float = 30, accuracy: str = "f32",
                  restrict: Restrict | None = None, store: Store, progress: Progress | None = None, verify: bool = False,
                  timer: RunTimer = MACHINE, sessions: int = 1, thorough: bool | None = None) -> Profile:
    """`profile` for a bound net, a `Restriction` and an open store. `timer`: of the budget and of all that is measured; where
    there are `sessions`, one that lets them run at the same time (`RunTimer.under_load`). `thorough`: whether candidates are
    measured too that cannot win, after what was measured; None: where the budget is longer than the usual one."""
    start, here, devices = timer.now(), this_host(), Devices.here(sessions)
    counts = probe(bound, threads, accuracy, restrict, timer)
    bound = bound.at_sizes(counts.sizes)
    texts = problems_of(bound, threads)
    runs: list[Run] = []
    fused = fused_nets(bound, threads, accuracy, restrict)
    nets = [(bound, restrict, counts), *((net, allowed, counts) for net, allowed in fused),
            *idle_blocks(bound, threads, accuracy, restrict, counts, timer)]

    def lookup() -> dict[Key, Measurement]:  # what another protocol measured is measured again
        found = store.lookup(here.id, texts, devices.current)
        return {key: m for key, m in found.items() if m.protocol == PROTOCOL}

    def write(measurements: list[Measurement]) -> None:
        store.add(measurements, devices.facts({m.host for m in measurements}, here.facts), replace=True)
    known = lookup()
    notes: dict[str, Any] = {}
    last = Tier.LOST if (budget_s > USUAL_S if thorough is None else thorough) else Tier.BEYOND
    purse: Purse | None = None
    try:
        if bound.opened is not None:
            write(counts.measurements(bound, threads, devices.host(here.id, ()), timer.date()))
        for i, (net, allowed, rounds) in enumerate(lazily(nets, runs, restrict)):
            # What the nets before this one measured is known now.
            run = Run(net, threads, random_inputs(net), accuracy=accuracy, restrict=allowed, host=here.id, write=write,
                      timer=timer, known=lookup() if runs else known, lead=runs[0] if runs else None, counts=rounds,
                      devices=devices)
            runs.append(run)
            if verify:
                from .verify import verify as check
                tell = (lambda text: progress(0.0, text)) if progress else (lambda text: None)
                notes.setdefault("wrong", []).extend(check(net, run.slots, run.inputs, threads, tell))
            purse = purse or Purse(budget_s, spent_key(bound, threads, accuracy, run.slots, devices.tags), known, start)
            protocol = _Protocol(run, timer.now(), purse.until(timer.now(), _until(i, len(nets))), last,
                                 _part(progress, i, len(nets)), timer)
            with purse.paid(timer, protocol):
                protocol.perform()
            run.samples.flush()
    except KeyboardInterrupt as e:
        runs[-1].samples.flush()
        raise _interrupted(runs, str(store.path or "a store in memory")) from e
    finally:
        for run in runs[-1:]:
            run.samples.flush()
        spent = purse.measurements(devices.host(here.id, ()), timer.date()) if purse else []
        write(spent)
    notes |= _notes(runs, timer.now() - start)
    if bound.opened is not None:
        notes |= counts.notes(bound)
        known = {**known, **{m.key: m for m in counts.measurements(bound, threads, devices.host(here.id, ()),
                                                                    timer.date())}}
    if progress:
        progress(1.0, f"{notes['known']} of {notes['candidates']} candidates measured")
    return _result(runs, here, known, spent, notes, sessions)


def _interrupted(runs: list[Run], where: str) -> InterruptedTuning:
    return InterruptedTuning(f"profiling was interrupted after {counted(sum(r.passes for r in runs), 'pass', 'passes')}; "
                             f"{len(set().union(*(r.samples.measured for r in runs)))} candidates and conversions measured in "
                             f"this run are kept in {where}: start again to go on")


def _until(i: int, nets: int) -> float:
    """Share of the budget that is spent when the i-th net is done."""
    return 1.0 if nets == 1 else SINGLE + (1.0 - SINGLE) * i / (nets - 1)


def _part(progress: Progress | None, i: int, nets: int) -> Progress | None:
    """The part of a progress bar that belongs to the i-th net."""
    if progress is None or nets == 1:
        return progress
    first, last = (0.0 if i == 0 else _until(i - 1, nets)), _until(i, nets)
    return lambda fraction, text: progress(first + (last - first) * fraction, text)


def _result(runs: list[Run], here: HostFingerprint, known: Mapping, spent: list[Measurement], notes: dict[str, Any],
            sessions: int) -> Profile:
    """What is known about the candidates of this build, and how long it took; those that turned out wrong are left out."""
    base = {name: e.candidate for name, e in runs[0].base().items()}
    slots = [s for run in runs for s in (*run.distinct, *run.assigner.known_adapts(), *run.adapts.slots.values(),
                                         run.samples.call)]
    wrong = {(s.text, *e.candidate.key) for s in slots for e in s.entries if e.state == "failed"}
    current = {(s.text, *e.candidate.key) for s in slots for e in s.entries} - wrong | {runs[0].reader.name(base)}
    current |= {*keys_of(runs[0].bound, runs[0].threads), *(key for key in known if key[1] == SPENT)}
    new = {m.id: m for run in runs for m in run.samples.measurements.values()}
    measured = [*(m for k, m in known.items() if k in current), *new.values(), *spent]
    result = Profile(here.id, measured, dict(here.facts), sessions)
    result.notes.update(notes)
    return result


def _notes(runs: list[Run], seconds: float) -> dict[str, Any]:
    # Of a problem in several nets the first one counts.
    distinct = {s.text: (run, s) for run in reversed(runs) for s in run.distinct}
    known = {(s.text, *e.candidate.key) for run in runs for s in run.distinct for e in s.entries
             if e.count or e.state != "open"}
    failed = {(s.text, str(e.candidate)): e.reason for run in runs for s in run.distinct for e in s.entries
              if e.state == "failed"}
    candidates = {(text, *e.candidate.key) for text, (_, s) in distinct.items() for e in s.entries}
    left = [row for run, s in distinct.values() for row in _left_out(run, s, known)]
    yardstick = runs[0].reader.yardstick
    speeds = yardstick.speeds
    speed = {"median": quantile(speeds, 0.5), "slowest": speeds[0], "fastest": speeds[-1]} if speeds else None
    return {"speed": speed, "yardsticks": len(yardstick), "passes": sum(r.passes for r in runs),
            "runs": sum(r.runs for r in runs), "measured": len(set().union(*(r.samples.measured for r in runs))),
            "known": len(known), "candidates": len(candidates), "unmeasured": len(left),
            "hopeless": sum(row["hopeless"] for row in left), "left_out": left, "seconds": seconds,
            "finite": all(r.finite for r in runs),
            "failed": [{"problem": text, "candidate": c, "reason": reason} for (text, c), reason in failed.items()]}


def _left_out(run: Run, slot: Slot, known: Collection[Key]) -> Iterator[dict[str, Any]]:
    """A row for every candidate of a slot that was not measured, and why."""
    run.prospects.refresh()
    for e in slot.entries:
        if (slot.text, *e.candidate.key) not in known:
            yield {"layers": [layer.name for layer in slot.layers], "problem": slot.text, "candidate": str(e.candidate),
                   "estimated_ns": e.estimate, "times_best": run.prospects.times(slot, e), "reason": run.prospects.why(slot, e),
                   "hopeless": run.prospects.tier(slot, e) >= Tier.BEYOND}


class _Protocol:
    """The order of passes. `budget_s` counts from `start`. `last`: the last tier of candidates that is measured.
    `worked`: whether there were some that waited."""

    def __init__(self, run: Run, start: float, budget_s: float, last: Tier, progress: Progress | None, timer: RunTimer):
        self.last, self.worked = last, False
        self.run, self.start, self.budget_s, self.progress, self.timer = run, start, budget_s, progress, timer
        self.shown = 0.0

    def perform(self) -> None:
        """All passes, as far as the budget goes."""
        run = self.run
        self.tell("the default route")
        self.worked = bool(self._waiting(self.last))
        if not run.base_known():
            run.perform(run.base())
        elif not self.worked:
            run_s = sum(s.best * len(s.layers) for s in run.distinct) / 1e9
            self.budget_s *= TOUCH_UP if TOUCH_UPS * run_s < TOUCH_UP * self.budget_s else 0.0
        lacking = [s for s in run.distinct if not s.measured]
        while lacking:  # what the default route left out
            run.perform(self._unmeasured(self._waiting(Tier.LOST, lacking)))
            still = [s for s in lacking if not s.measured and any(e.state == "open" for e in s.entries)]
            if run.bound.opened is not None and len(still) == len(lacking):
                run.leave_out(still)  # what does not run on these inputs
            lacking = [s for s in run.distinct if not s.measured]
        for part in (partial(self.explore, EXPLORE, Tier.PROMISING), partial(self.explore, EXPLORE, Tier.UNKNOWN),
                     partial(self.convert, CONVERT), partial(self.explore, EXPLORE_AGAIN, Tier.UNKNOWN),
                     partial(self.refine, 1.0), partial(self.convert, 1.0), self.together,
                     partial(self.explore, 1.0, self.last), partial(self.refine, 1.0), partial(self.convert, 1.0)):
            with contextlib.suppress(OutOfTime):
                part()

    def until(self, share: float) -> float:
        """When a share of the budget is spent, by the timer."""
        return self.start + share * self.budget_s

    def left(self, share: float) -> bool:
        """True while less than a share of the budget is spent."""
        return self.timer.now() < self.until(share)

    def tell(self, text: str) -> None:
        """Report progress: the larger of the budget spent and the candidates done; never back."""
        if self.progress is None:
            return
        done, total = self.run.progress()
        spent = (self.timer.now() - self.start) / self.budget_s if self.budget_s > 0 else 1.0
        self.shown = max(self.shown, min(0.99, max(spent, 0.8 * done / max(1, total))))
        self.progress(self.shown, f"{text} ({done} of {total} candidates)")

    # ---- every candidate once ---------------------------------------------------------------------------------------

    def explore(self, share: float, last: Tier) -> None:
        """Measure what was never measured, up to a tier, one layout at a time."""
        while self.left(share):
            self.run.prospects.refresh()
            waiting = self._waiting(last)
            if not waiting:
                return
            self.tell("measuring")
            self.run.perform(self._unmeasured(waiting), self.until(share))

    def _waiting(self, last: Tier, slots: list[Slot] | None = None) -> list[tuple[Slot, list[Entry]]]:
        """(slot, candidates without samples, promising ones first), up to a tier; slots that take most of a call first. Of
        heavy layers the candidate that is at work comes first, until it has enough samples."""
        prospects, found = self.run.prospects, []
        for slot in slots or self.run.distinct:
            heavy = slot.weight_bytes >= HEAVY
            started = [e for e in slot.entries if heavy and e.state == "open" and e.raw and len(e.raw) < SETTLED]
            entries = [*started[-1:], *prospects.waiting(slot, slot.unmeasured(), last)]
            found += [(slot, entries)] if entries else []
        return sorted(found, key=lambda item: -prospects.weight(item[0]))

    def _unmeasured(self, waiting: list[tuple[Slot, list[Entry]]]) -> dict[str, Entry]:
        """Candidates that wait, in one layout: that in which those of the lowest tier wait that are worth most."""
        prospects = self.run.prospects
        worth: dict[str, dict[Tier, float]] = {}
        for slot, entries in waiting:
            for e in entries:
                of = worth.setdefault(e.layout, {})
                tier = prospects.tier(slot, e)
                of[tier] = of.get(tier, 0.0) + prospects.weight(slot) / len(slot.layers)
        theme = max(worth, key=lambda layout: (layout != "plain", -min(worth[layout]), worth[layout][min(worth[layout])]))
        offered = {id(slot): [e for e in entries if e.layout in (theme, "plain")] for slot, entries in waiting}
        return self._spread([slot for slot, _ in waiting], lambda slot: offered[id(slot)])

    @staticmethod
    def _spread(slots: list[Slot], choose: Callable[[Slot], list[Entry]]) -> dict[str, Entry]:
        """Different candidates for equal layers; which layer comes first changes from pass to pass."""
        wanted = {}
        for slot in slots:
            n = len(slot.layers)
            for i, entry in enumerate(choose(slot)[:n]):
                wanted[slot.layers[(i + slot.turn) % n].name] = entry
            slot.turn += 1
        return wanted

    # ---- conversions ------------------------------------------------------------------------------------------------

    def convert(self, share: float) -> None:
        """Measure the conversions between the formats of the candidates that survived."""
        before = None
        while self.left(share):
            missing = self.run.assigner.missing_adapts()
            state = [(s.text, [e.count for e in s.entries]) for s in missing.values()]
            if not missing or state == before:
                return
            before = state
            chosen, covered = self.run.assigner.covering(missing)
            if not covered:
                return
            self.tell("measuring conversions")
            self.run.perform(chosen, self.until(share))

    # ---- contenders again -------------------------------------------------------------------------------------------

    def refine(self, share: float) -> None:
        """More samples for candidates that are close to the best, until each has enough."""
        while self.left(share):
            slots = [s for s in self.run.distinct if self._contenders(s)]
            if not slots:
                return
            lacking: dict[str, int] = {}
            for slot in slots:
                for e in self._contenders(slot):
                    lacking[e.layout] = lacking.get(e.layout, 0) + 1
            theme = max(lacking, key=lambda layout: (layout != "plain", lacking[layout]))
            self.tell("measuring again")
            chosen = self._spread(slots, partial(self._contenders, layouts=(theme, "plain")))
            self.run.perform(chosen, self.until(share))

    def together(self) -> None:
        """Samples of the best candidates beside each other, as in the route that they make: steps whose neighbours change from
        pass to pass find less of what they read in the caches."""
        self.run.samples.newest = True
        try:
            for _ in range(TOGETHER if self.worked else 0):
                if self.left(1.0):
                    self.tell("measuring the best together")
                    self.run.perform({}, self.until(1.0))
        finally:
            self.run.samples.newest = False

    @staticmethod
    def _contenders(slot: Slot, layouts: tuple[str, ...] | None = None) -> list[Entry]:
        """The contenders of a slot, in some layouts only; those of heavy layers until they have enough samples."""
        found = slot.contenders() if layouts is None else [e for e in slot.contenders() if e.layout in layouts]
        return [e for e in found if slot.weight_bytes < HEAVY or len(e.raw) < SETTLED]
