"""The tuner: measure what is missing, solve, race the best routes against the plain ones, keep the winner."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..errors import NoRoutineError, SolverError
from ..net.format import numpy_dtype
from ..net.route import Route
from ..profile.about import About
from ..profile.measurement import Measurement
from ..profile.passes import CALL, StepTimes, call_problem, timed_run
from ..profile.profile import Profile
from ..profile.protocol import profile_bound, random_inputs, this_host
from ..profile.store import Store
from ..runtime.bound import BoundNet
from ..runtime.defaults import default_route
from ..runtime.prepare import KernelCache
from ..runtime.routes import plan_route
from . import race as racing
from .costs import Costs, Priced
from .progress import Progress, part
from .solvers import contract, evaluate, k_best, margins, solve

#: Predictions further off than this are a finding, and make the winner's steps be measured again in place.
FINDING = 0.05
#: Best routes of the solver that take part in the race.
BEST = 3
LAYOUTS = ("nhwc", "nchw16c", "nchw")
#: Routes predicted to be slower than the best by this factor do not take part, but for the best plain one.
CHANCELESS = 1.5
#: Seconds of one race, and of measuring the winner's steps again.
RACE_S, AGAIN_S = 1.5, 1.0
LEAST_AGAIN, MOST_AGAIN = 3, 30
#: Seconds that the first race may have taken for there to be a second one.
AGAIN_LIMIT_S = 8.0
#: Runs whose times differ by less than this share took place under the same conditions.
ALIKE = 0.1
#: A median this far above the minimum is that of a machine with other work.
DISTURBED = 1.2


def solved_routes(costs: Costs, time_limit_s: float = 10.0, count: int = 1) -> list[Route]:
    """The best routes under the measured costs, cheapest first; the first with its margins. Raises SolverError."""
    solutions = ([solve(costs.instance, time_limit_s=time_limit_s)] if count == 1 else
                 k_best(costs.instance, count, time_limit_s=time_limit_s))
    first = costs.route(solutions[0], margins(costs.instance, solutions[0]))
    return [first, *(costs.route(s) for s in solutions[1:])]


def single_layout_routes(costs: Costs, time_limit_s: float = 10.0) -> Iterator[tuple[str, Route]]:
    """("nhwc only", the best route in that layout) for every layout that a candidate has."""
    for layout in LAYOUTS:
        def allowed(p: Priced, layout=layout) -> bool:
            return all(f.layout in (layout, "plain") for f in (*p.candidate.ins, *p.candidate.outs))
        if any(f.layout == layout for found in costs.layers.values() for p in found
               for f in (*p.candidate.ins, *p.candidate.outs)):
            try:
                yield f"{layout} only", costs.route(solve(costs.restricted(allowed), time_limit_s=time_limit_s))
            except SolverError:
                continue


def priced_default(costs: Costs, restrict: Any = None) -> Route:
    """The default route, with its prediction where all of it was measured."""
    route = default_route(costs.bound, costs.threads, costs.accuracy, restrict)
    return predict(costs, route) or route


def predict(costs: Costs, route: Route, best: contract.Solution | None = None) -> Route | None:
    """The route with the prices of these costs; None where it uses what was not measured.

    With `best`, a solution of the same costs, also its margins, and how far it is from the proved bound.
    """
    choice: dict[str, contract.Candidate] = {}
    for name, c in route.layers.items():
        found = [p for p in costs.layers.get(name, []) if p.candidate.key == (c.routine, c.version, c.variant)]
        if not found:
            return None
        choice[name] = found[0].to_solver()
    try:
        priced = evaluate.evaluate(costs.instance, choice)
    except SolverError:
        return None
    bound = best.lower_bound if best else 0.0
    gap = max(0.0, priced.cost / bound - 1.0) if bound > 0 else 1.0
    proved = best is not None and best.certificate == "optimal" and gap < 1e-9
    solution = contract.Solution(choice, priced.conversions, priced.cost, bound, "optimal" if proved else "gap", gap,
                                 best.method if best else route.solver)
    if best:
        return costs.route(solution, margins(costs.instance, solution))
    return dataclasses.replace(costs.route(solution), certificate=route.certificate,
                               lower_bound_ns=route.lower_bound_ns)


def identity(route: Route) -> tuple:
    """Equal for routes that run the same."""
    return (tuple((n, c.routine, c.version, c.variant, c.ins, c.outs) for n, c in sorted(route.layers.items())),
            tuple(sorted((c.value, c.source, c.target, c.routine, c.variant) for c in route.conversions)))


class Tuner:
    """One tuning of a bound net. `report`: what was done, plain data."""

    def __init__(self, bound: BoundNet, *, threads: int, accuracy: str, budget_s: float, restrict: Any, store: Store,
                 progress: Progress, time_limit_s: float = 10.0):
        self.bound, self.threads, self.accuracy, self.budget_s = bound, threads, accuracy, budget_s
        self.restrict, self.store, self.progress, self.time_limit_s = restrict, store, progress, time_limit_s
        self.cache = KernelCache(bound)
        self.inputs = random_inputs(bound)
        self.out = {n: np.empty(s.shape, numpy_dtype(s.dtype)) for n, s in bound.outputs.items()}
        self.seconds = {"profile": 0.0, "solve": 0.0, "race": 0.0, "measure again": 0.0}
        self.racers: dict[tuple, racing.Racer] = {}
        self.races: list[list[dict[str, Any]]] = []
        self.left_out: list[dict[str, Any]] = []
        self.phase = "profile"

    def tune(self) -> tuple[Route, dict[str, Any]]:
        """The winner, with predicted and measured times, and the report."""
        profile = self._timed("profile", lambda: profile_bound(
            self.bound, threads=self.threads, budget_s=self.budget_s, accuracy=self.accuracy, restrict=self.restrict,
            store=self.store, progress=part(self.progress, 0.0, 0.8)))
        costs = self._costs(profile)
        routes = self._timed("solve", partial(self._routes, costs))
        winner = self._timed("race", partial(self._race, routes))
        first_gap = _gap(winner.route.predicted_ns, winner.median)
        wrong = self._mispredicted(winner, routes)
        if wrong:
            self._timed("measure again", partial(self._measure_again, wrong, profile))
            best = self._timed("solve", partial(solved_routes, self._costs(profile), self.time_limit_s))[0]
            if identity(best) not in self.racers and self.seconds["race"] < AGAIN_LIMIT_S:
                winner = self._timed("race", partial(self._race, {identity(best): (["solved again"], best)}, winner))
        route = self._final(winner, self._costs(profile), first_gap)
        return route, self._report(route, profile, first_gap)

    def _mispredicted(self, winner: racing.Racer, routes: dict) -> list[racing.Racer]:
        """The winner and the solver's favourite, where their predictions are off."""
        favourite = self.racers[next(iter(routes))]
        found = [winner] if favourite is winner else [winner, favourite]
        gaps = [(r, _gap(r.route.predicted_ns, r.median)) for r in found]
        return [r for r, gap in gaps if gap is None or abs(gap) > FINDING]

    def _timed(self, phase: str, body: Callable[[], Any]) -> Any:
        start, self.phase = time.monotonic(), phase
        try:
            return body()
        finally:
            self.seconds[phase] += time.monotonic() - start

    def _costs(self, profile: Profile) -> Costs:
        return Costs.of(self.bound, profile, self.threads, self.accuracy, self.restrict)

    # ---- routes -----------------------------------------------------------------------------------------------------

    def _routes(self, costs: Costs) -> dict[tuple, tuple[list[str], Route]]:
        """Routes for the race by identity, with their names; hopeless ones left out."""
        self.progress(0.81, "solving")
        named = [(f"solved {i + 1}", r) for i, r in enumerate(solved_routes(costs, self.time_limit_s, BEST))]
        limit = CHANCELESS * named[0][1].predicted_ns
        plain = list(single_layout_routes(costs, self.time_limit_s))
        with contextlib.suppress(NoRoutineError):  # where everything that the default would take turned out wrong
            plain.append(("default", priced_default(costs, self.restrict)))
        best = min((r.predicted_ns for _, r in plain if r.predicted_ns is not None), default=0.0)
        hopeless = [(n, r) for n, r in plain if r.predicted_ns is not None and r.predicted_ns > max(limit, best)]
        self.left_out = [{"name": n, "predicted_ns": r.predicted_ns} for n, r in hopeless]
        plain = [p for p in plain if p not in hopeless]
        routes: dict[tuple, tuple[list[str], Route]] = {}
        for name, route in [*named, *plain]:
            routes.setdefault(identity(route), ([], route))[0].append(name)
        return routes

    def _race(self, routes: dict[tuple, tuple[list[str], Route]], previous: racing.Racer | None = None) -> racing.Racer:
        """Race routes, and who won before; gives the winner."""
        running = [previous] if previous else []
        for key, (names, route) in routes.items():
            self.progress(0.82, f"preparing {names[0]}")
            plan = plan_route(route, self.bound, self.threads, self.cache)
            self.racers[key] = racing.Racer(names, route, plan, plan.session())
            running.append(self.racers[key])
        for racer in running:
            racer.times, racer.out = [], False
        winner = racing.race(running, self.inputs, self.out, RACE_S, part(self.progress, 0.83, 0.98))
        self.races.append([racer.row() for racer in running])
        return winner

    # ---- steps again, in place --------------------------------------------------------------------------------------

    def _measure_again(self, racers: list[racing.Racer], profile: Profile) -> None:
        """Time the steps of routes in the very route, in turn, and add them to profile and store.

        Only runs that took as long as those of the race count: others were disturbed, or the race was.
        """
        self.progress(0.98, "measuring steps again, in the raced routes")
        end = time.monotonic() + AGAIN_S
        samples: dict[tuple, list[float]] = {}
        runs = 0
        while runs < LEAST_AGAIN or (runs < MOST_AGAIN and time.monotonic() < end):
            for racer in racers:
                steps, total = timed_run(racer.session, self.inputs, self.out)
                if abs(total - racer.median) > ALIKE * racer.median:
                    continue
                for key, ns in _attribute(racer.plan, self.bound, self.threads, steps, total).items():
                    samples.setdefault(key, []).extend(ns)
            runs += 1
        now, here = time.time(), this_host()
        new = [Measurement(profile.host, *key[:4], tuple(ns), now, about=_about(profile, key))
               for key, ns in samples.items()]
        self.store.add(new, {here.id: dict(here.facts)})
        profile.add(new)

    # ---- the result -------------------------------------------------------------------------------------------------

    def _final(self, winner: racing.Racer, costs: Costs, first_gap: float | None) -> Route:
        # The winner under what is known now: samples that were taken in the race's own routes change bound and margins.
        best = solve(costs.instance, time_limit_s=self.time_limit_s)
        route = predict(costs, winner.route, best) or winner.route
        notes = {**route.notes, "race": self.races[-1], "races": len(self.races), "won_as": winner.names,
                 "gap": _gap(route.predicted_ns, winner.median), "gap_before_measuring_again": first_gap}
        return dataclasses.replace(route, measured_ns=winner.median, notes=notes, host=costs.host)

    def _report(self, route: Route, profile: Profile, first_gap: float | None) -> dict[str, Any]:
        gap = _gap(route.predicted_ns, route.measured_ns)
        findings = []
        if gap is None or abs(gap) > FINDING:
            shown = "nothing" if gap is None else f"{route.predicted_ns / 1e6:.3f} ms"
            findings.append(f"predicted {shown}, measured {route.measured_ns / 1e6:.3f} ms"
                            + ("" if gap is None else f" ({100 * gap:+.1f} %)"))
        row = min(self.races[-1], key=lambda row: row["median_ns"])
        if row["median_ns"] > DISTURBED * row["minimum_ns"]:
            findings.append(f"the machine was busy: the winner took {row['minimum_ns'] / 1e6:.3f} ms in its best run and "
                            f"{row['median_ns'] / 1e6:.3f} ms in the median one; tune again when nothing else runs")
        if self.accuracy == "quantised" and not self.bound.scales:
            findings.append("accuracy quantised was allowed, but no value has a scale, so that no quantised routine took "
                            "part: calibrate the model first (model.calibrate(samples), or --calibrate)")
        if not profile.notes.get("finite", True):
            findings.append("some outputs were infinite or not numbers on random inputs; their times may be untypical")
        if profile.notes.get("unmeasured"):
            findings.append(f"the budget ended before {profile.notes['unmeasured']} of {profile.notes['candidates']} "
                            f"candidates were measured; tune again, or with a larger budget_s")
        return {"predicted_ns": route.predicted_ns, "measured_ns": route.measured_ns, "gap": gap,
                "gap_before_measuring_again": first_gap, "certificate": route.certificate, "solver": route.solver,
                "host": route.host, "race": self.races[-1], "races": self.races, "not raced": self.left_out,
                "findings": findings, "profile": profile.notes,
                "seconds": dict(self.seconds)}


def _gap(predicted: float | None, measured: float | None) -> float | None:
    """(predicted - measured) / measured."""
    return None if predicted is None or not measured else (predicted - measured) / measured


def _attribute(plan, bound: BoundNet, threads: int, steps, total: int) -> dict[tuple, list[float]]:
    """(problem, routine, version, variant, about) -> times of one run of a plan."""
    times = StepTimes.of(plan, steps)
    versions = {(c.value, c.target): c.version for c in plan.conversions}
    found: dict[tuple, list[float]] = {}
    for step, ns in times.adapts:
        version, about = versions[step.value, step.outs[0]], About(step.ins, step.outs).text()
        key = step.problem, step.routine, version, step.variant, about
        found.setdefault(key, []).append(max(1.0, ns))
    for layer, problem in zip(bound.layers, bound.problems(threads)):
        c = plan.choices[layer.name]
        key = (problem.text, *c.key, About(c.ins, c.outs, c.accuracy, 0, c.reference).text())
        found.setdefault(key, []).append(max(1.0, times.layers.get(layer.name, 0.0)))
    rest = total - sum(times.layers.values()) - sum(ns for _, ns in times.adapts)
    if rest > 0 and not any(f.device != "cpu" for s in plan.steps for f in (*s.ins, *s.outs)):  # other clocks
        found[(call_problem(bound, threads).text, CALL, 1, "", About((), ()).text())] = [rest]
    return found


def _about(profile: Profile, key: tuple) -> str:
    """What the profile says of a routine already, else what the key of `_attribute` says."""
    known = profile.get(*key[:4])
    return known.about if known and known.about else key[4]
