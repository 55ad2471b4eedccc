"""Measuring again: the steps of raced routes, timed in the very route, where a prediction was wrong.

The profile times a candidate among whatever neighbours a pass gives it. In a route the neighbours are fixed, and what
lies in the caches may be something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..profiling.about import About
from ..profiling.devices import Devices, touched
from ..profiling.measurement import Key, Measurement, quantile
from ..profiling.profile import Profile
from ..profiling.reader import SHORT
from ..profiling.timed import RunTimer, StepTimes
from ..profiling.yardstick import CALL, Yardstick, call_problem, on_cpu, uninterrupted
from .race import Racer

#: Seconds that measuring again takes, after the least number of runs of each route and up to the largest number.
AGAIN_S = 0.7
LEAST_AGAIN, MOST_AGAIN = 2, 30


class Run(NamedTuple):
    """One run of a route with a timer per step. `moment`: of the yardstick. `steps`: ns of each. `total`: ns of the call,
    less what it takes longer because of the timers. `counts`: how often each step ran, None where each ran once."""

    racer: Racer
    moment: int
    steps: list[int]
    total: float
    counts: list[int] | None = None


def runs_of(racers: list[Racer], inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer, latest: float,
            read: Callable[[], None], yardstick: Yardstick) -> list[Run]:
    """Runs of the routes in turn, for AGAIN_S seconds but not after `latest`, by the timer. `read`: takes a reading of the
    yardstick; it is called before every run and after the last one."""
    end = min(timer.now() + AGAIN_S, latest)
    found: list[Run] = []
    differences: dict[int, list[float]] = {id(r): [] for r in racers}  # of a call with timers and one without, ns
    runs = 0
    while runs < (1 if timer.now() > latest else LEAST_AGAIN) or (runs < MOST_AGAIN and timer.now() < end):
        for racer in racers:
            read()
            plain = timer.call(racer.session, inputs, out) if racer.median < SHORT else None
            moment = yardstick.tick()
            steps, total = timer.steps(racer.session, inputs, out)
            found.append(Run(racer, moment, steps, total, racer.session.counts()))
            differences[id(racer)].append(0.0 if plain is None else total - plain)
        runs += 1
    read()
    timers = {key: max(0.0, quantile(sorted(ns), 0.5)) for key, ns in differences.items()}
    return [run._replace(total=run.total - timers[id(run.racer)]) for run in found]


def measurements(runs: list[Run], threads: int, profile: Profile, slowness: Callable[[int], tuple[float, bool]],
                 date: float) -> list[Measurement]:
    """What the runs say of every candidate and conversion, at the reference speed of the machine. `slowness`: of a moment,
    and whether the speed was steady; runs of other moments say nothing. `date`: seconds since 1970."""
    devices = Devices.here(profile.sessions)
    samples: dict[tuple[Key, str, str], list[float]] = {}
    for run in runs:
        slow, steady = slowness(run.moment)
        if steady:
            for key, about, names, ns, follows in _attribute(run, threads, devices):
                samples.setdefault((key, about, devices.host(profile.host, names)), []).append(ns / slow if follows else ns)
    return [Measurement(host, *key, tuple(uninterrupted(ns)), date, about=_about(profile, key, about))
            for (key, about, host), ns in samples.items()]


def _attribute(run: Run, threads: int, devices: Devices) -> Iterator[tuple[Key, str, set[str], float, bool]]:
    """(key of a measurement, its `about`, devices that it touches, ns, whether the yardstick tells its clock) of one run of a
    plan."""
    plan = run.racer.plan
    times, flat = StepTimes.of(plan, run.steps, run.counts), plan.bound.flat
    versions = {(c.value, c.target): c.version for c in plan.conversions}
    for step, ns in times.adapts:
        key = step.problem, step.routine, versions[flat.origin(step.value), step.outs[0]], step.variant
        own = step.routine.rsplit(":", 1)[-1]
        names = {own, *(f.device for f in (*step.ins, *step.outs))}
        about = About(step.ins, step.outs, emulated=not names.isdisjoint(devices.emulated),
                      threads=own not in devices.indifferent).text()
        yield key, about, names, max(1.0, ns), on_cpu((*step.ins, *step.outs))
    for layer, problem in zip(flat.layers, flat.problems(threads)):
        if run.counts is not None and layer.name not in times.layers:
            continue
        c = plan.choices[layer.name]
        names = touched(c)
        about = About(c.ins, c.outs, c.accuracy, 0, c.reference, not names.isdisjoint(devices.emulated),
                      devices.threads_matter(c)).text()
        yield (problem.text, *c.key), about, names, max(1.0, times.layers.get(layer.name, 0.0)), on_cpu((*c.ins, *c.outs))
    rest = run.total - sum(run.steps) + times.other
    if rest > 0 and all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):  # others have other clocks
        yield (call_problem(plan.bound, threads).text, CALL, 1, ""), About((), ()).text(), set(), rest, True


def _about(profile: Profile, key: Key, about: str) -> str:
    """What the profile says of a routine already, else what a plan knows of it."""
    known = profile.get(*key)
    return known.about if known and known.about else about
