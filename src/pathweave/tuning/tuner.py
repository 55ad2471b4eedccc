"""The tuner: measure what is missing, solve, race the best routes against the plain ones, keep the winner."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import Error, NoRoutineError, OutOfMemoryError, RouteError, SolverError
from ..net.route import Route
from ..profiling.about import About
from ..profiling.measurement import Measurement, quantile
from ..profiling.pace import SHORT
from ..profiling.profile import Profile
from ..profiling.protocol import profile_bound, this_host
from ..profiling.store import Store
from ..profiling.timed import MACHINE, RunTimer, StepTimes
from ..profiling.yardstick import CALL, Yardstick, call_problem, on_cpu, uninterrupted, yardstick_key
from ..progress import Progress, part
from ..runtime.bound import BoundNet
from ..runtime.defaults import default_route
from ..runtime.inputs import arrays_for_outputs, random_inputs
from ..runtime.interpreted import of_route
from ..runtime.prepare import KernelCache
from ..runtime.routes import plan_route
from . import race as racing
from .costs import Costs
from .plain import plain_routes
from .solvers import contract, evaluate, k_best, margins, solve

#: Predictions further off than this are a finding, and make the winner's steps be measured again in place.
FINDING = 0.05
#: Best routes of the solver that take part in the race.
BEST = 3
#: Routes predicted to be slower than the best by this factor do not take part, but for the best plain one.
CHANCELESS = 1.5
#: Seconds of one race, and of measuring the winner's steps again.
RACE_S, AGAIN_S = 1.2, 0.7
#: A race may take this share of the time that measuring took: routes that are nearly equal need many rounds.
RACE_SHARE = 0.1
LEAST_AGAIN, MOST_AGAIN = 2, 30
#: Share of the budget for the profile; the race and what follows take the rest. All of it together may take so many times
#: the budget, and so many seconds more: then races end with their least number of rounds, and nothing is measured again.
PROFILE_SHARE, LATEST, LATEST_S = 0.85, 1.1, 1.5
#: There is a second race unless the first one and its preparations took so many seconds more than a race may.
AGAIN_SLACK_S = 0.8
#: A machine this many times slower than its reference, or in one round of a race than in another, has other work.
DISTURBED = 1.2


def solved_routes(costs: Costs, time_limit_s: float = 10.0, count: int = 1) -> list[Route]:
    """The best routes under the measured costs, cheapest first; the first with its margins. Raises SolverError."""
    solutions = ([solve(costs.instance, time_limit_s=time_limit_s)] if count == 1 else
                 k_best(costs.instance, count, time_limit_s=time_limit_s))
    first = costs.route(solutions[0], margins(costs.instance, solutions[0]))
    return [first, *(costs.route(s) for s in solutions[1:])]


def priced_default(costs: Costs, restrict: Any = None) -> Route:
    """The default route, with its prediction where all of it was measured."""
    route = default_route(costs.bound, costs.threads, costs.accuracy, restrict)
    return predict(costs, route) or route


def predict(costs: Costs, route: Route, best: contract.Solution | None = None) -> Route | None:
    """The route with the prices of these costs; None where it uses what was not measured.

    With `best`, a solution of the same costs, also its margins, and how far it is from the proved bound.
    """
    choice = costs.choice_of(route)
    if isinstance(choice, str):
        return None
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


@dataclasses.dataclass
class Reference:
    """What tells the machine's speed: the default route, and the levels of the sum of its steps that the profile knows, ns.
    `racer`: of the last race. `steps`: ns per run and step of its runs outside of races."""

    route: Route
    known: tuple[float, ...]
    racer: racing.Pacer | None = None
    steps: list[Any] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> float:
        """Nanoseconds of a reading at reference speed."""
        return Yardstick(self.known).reference


class Tuner:
    """One tuning of a bound net. `report`: what was done, plain data."""

    def __init__(self, bound: BoundNet, *, threads: int, accuracy: str, budget_s: float, restrict: Any, store: Store,
                 progress: Progress, time_limit_s: float = 10.0, timer: RunTimer = MACHINE):
        self.timer = timer
        self.bound, self.threads, self.accuracy, self.budget_s = bound, threads, accuracy, budget_s
        self.restrict, self.store, self.progress, self.time_limit_s = restrict, store, progress, time_limit_s
        self.cache = KernelCache(bound)
        self.inputs = random_inputs(bound)
        self.out = arrays_for_outputs(bound)
        self.seconds = {"profile": 0.0, "solve": 0.0, "race": 0.0, "measure again": 0.0}
        self.racers: dict[tuple, racing.Racer] = {}
        self.races: list[list[dict[str, Any]]] = []
        self.raced: tuple[list[racing.Racer], racing.Racer, list[float]] | None = None  # racers, winner, slowness of rounds
        self.left_out: list[dict[str, Any]] = []
        self.pace: Reference | None = None
        self.speed: dict[str, float] | None = None
        self.phase = "profile"
        self.latest = self.timer.now() + LATEST * budget_s + LATEST_S

    def tune(self) -> tuple[Route, dict[str, Any]]:
        """The winner, with predicted and measured times, and the report."""
        profile = self._timed("profile", lambda: profile_bound(
            self.bound, threads=self.threads, budget_s=PROFILE_SHARE * self.budget_s, accuracy=self.accuracy,
            restrict=self.restrict, store=self.store, progress=part(self.progress, 0.0, 0.8), timer=self.timer))
        costs = self._costs(profile)
        self.pace = self._yardstick(costs, profile)
        routes = self._timed("solve", partial(self._routes, costs))
        winner = self._timed("race", partial(self._race, routes))
        first_gap = _gap(winner.route.predicted_ns, winner.reference_ns)
        wrong = self._mispredicted(winner, routes)
        if wrong and not self._late():
            self._timed("measure again", partial(self._measure_again, wrong, profile))
            best = self._timed("solve", partial(solved_routes, self._costs(profile), self.time_limit_s))[0]
            if identity(best) not in self.racers and not self._late() and self.seconds["race"] < self._race_s() + AGAIN_SLACK_S:
                winner = self._timed("race", partial(self._race, {identity(best): (["solved again"], best)}, winner))
        route = self._final(winner, self._costs(profile), first_gap)
        return route, self._report(route, profile, first_gap)

    def _mispredicted(self, winner: racing.Racer, routes: dict) -> list[racing.Racer]:
        """The winner and the solver's favourite, where their predictions are off."""
        favourite = self.racers.get(next(iter(routes)), winner)
        found = [winner] if favourite is winner else [winner, favourite]
        gaps = [(r, _gap(r.route.predicted_ns, r.reference_ns)) for r in found]
        return [r for r, gap in gaps if gap is None or abs(gap) > FINDING]

    def _timed(self, phase: str, body: Callable[[], Any]) -> Any:
        start, self.phase = self.timer.now(), phase
        try:
            return body()
        finally:
            self.seconds[phase] += self.timer.now() - start

    def _costs(self, profile: Profile) -> Costs:
        return Costs.of(self.bound, profile, self.threads, self.accuracy, self.restrict)

    def _yardstick(self, costs: Costs, profile: Profile) -> Reference | None:
        """The default route with its time at reference speed; None where the profile does not know it, or where it
        leaves the CPU: times are then compared as the clock told them."""
        with contextlib.suppress(NoRoutineError):
            # Not the priced one: its conversions are the cheapest ones, not those of the profile's readings.
            route = default_route(costs.bound, costs.threads, costs.accuracy, self.restrict)
            known = profile.get(*yardstick_key(self.bound, self.threads, route.layers))
            if known is not None and all(on_cpu((*c.ins, *c.outs)) for c in route.layers.values()):
                return Reference(route, known.samples)
        return None

    # ---- routes -----------------------------------------------------------------------------------------------------

    def _routes(self, costs: Costs) -> dict[tuple, tuple[list[str], Route]]:
        """Routes for the race by identity, with their names; hopeless ones left out."""
        self.progress(0.81, "solving")
        named = [(f"solved {i + 1}", r) for i, r in enumerate(solved_routes(costs, self.time_limit_s, BEST))]
        limit = CHANCELESS * named[0][1].predicted_ns
        plain = list(plain_routes(costs, self.time_limit_s))
        with contextlib.suppress(NoRoutineError):
            default = priced_default(costs, self.restrict)
            # It may take what a restriction excludes, what cannot be prepared, and what turned out wrong.
            if not isinstance(costs.choice_of(default), str):
                plain.append(("default", default))
        best = min((r.predicted_ns for _, r in plain if r.predicted_ns is not None), default=0.0)
        hopeless = [(n, r) for n, r in plain if r.predicted_ns is not None and r.predicted_ns > max(limit, best)]
        self.left_out = [{"name": n, "predicted_ns": r.predicted_ns} for n, r in hopeless]
        plain = [p for p in plain if p not in hopeless]
        routes: dict[tuple, tuple[list[str], Route]] = {}
        for name, route in [*named, *plain]:
            routes.setdefault(identity(route), ([], route))[0].append(name)
        return routes

    def _race(self, routes: dict[tuple, tuple[list[str], Route]], previous: racing.Racer | None = None) -> racing.Racer:
        """Race routes, and who won before; gives the winner. A route that does not fit into memory as a whole is left out.
        Raises OutOfMemoryError, RouteError where none can be planned."""
        running = [previous] if previous else []
        failure: Error | None = None
        for key, (names, route) in self._affordable(routes).items():
            self.progress(0.82, f"preparing {names[0]}")
            try:
                plan = plan_route(route, self.bound, self.threads, self.cache)
                self.racers[key] = racing.Racer(names, route, plan, plan.session())
            except (OutOfMemoryError, RouteError) as e:
                failure = e
                self.left_out += [{"name": n, "predicted_ns": route.predicted_ns, "reason": str(e)} for n in names]
                continue
            running.append(self.racers[key])
        if not running and failure is not None:
            raise failure
        pace = self._pacer(running)
        winner, rounds = racing.race(running, self.inputs, self.out, self._race_s(), part(self.progress, 0.83, 0.98), pace,
                                      self.latest, self.timer)
        self.raced = running, winner, rounds
        self.races.append([])
        self._compare()
        return winner

    def _affordable(self, routes: dict[tuple, tuple[list[str], Route]]) -> dict[tuple, tuple[list[str], Route]]:
        """The routes for whose least race there is time, the yardstick's runs included: the favourite and the default route
        in any case."""
        runs = 1 + racing.LEAST_ROUNDS
        left = self.latest - self.timer.now() - (runs * self.pace.reference / 1e9 if self.pace else 0.0)
        kept = {}
        for i, (key, (names, route)) in enumerate(routes.items()):
            left -= runs * (route.predicted_ns or 0.0) / 1e9
            if i == 0 or left > 0 or "default" in names:
                kept[key] = names, route
            else:
                self.left_out += [{"name": name, "predicted_ns": route.predicted_ns} for name in names]
        return kept

    def _late(self) -> bool:
        return self.timer.now() > self.latest

    def _race_s(self) -> float:
        return max(RACE_S, RACE_SHARE * self.seconds["profile"])

    def _compare(self) -> None:
        """Set the times of the last race at reference speed, and the speed during it, under what is known now."""
        running, winner, rounds = self.raced
        factor = self.pace.reference / self.pace.racer.reading(rounds, self.pace.steps) if self.pace else 1.0
        for racer in running:
            racer.reference_ns = racer.level * factor
        ordered = sorted(rounds)
        # A speed is relative to the reference, or to the median round where there is none; "interrupted" is the share of
        # the winner's time that other processes took.
        self.speed = {"median": factor, "slowest": factor / quantile(ordered, 0.9), "fastest": factor / quantile(ordered, 0.1),
                      "interrupted": max(0.0, 1.0 - winner.level / winner.median)}
        self.races[-1] = [racer.row() for racer in running]

    def _pacer(self, running: list[racing.Racer]) -> racing.Pacer | None:
        """The yardstick for a race; the plan is that of the racer with its route, where there is one."""
        if self.pace is None:
            return None
        key = identity(self.pace.route)
        same = next((r for r in running if identity(r.route) == key), self.pace.racer)
        plan = same.plan if same else plan_route(self.pace.route, self.bound, self.threads, self.cache)
        self.pace.racer = racing.Pacer(["yardstick"], self.pace.route, plan, same.session if same else plan.session())
        return self.pace.racer

    # ---- steps again, in place --------------------------------------------------------------------------------------

    def _measure_again(self, racers: list[racing.Racer], profile: Profile) -> None:
        """Time the steps of routes in the very route, in turn with the yardstick, and add them to profile and store."""
        self.progress(0.98, "measuring steps again, in the raced routes")
        taken, stick = self._taken_again(racers)
        samples: dict[tuple, list[float]] = {}
        for racer, moment, steps, total in taken:
            slow, steady = stick.slowness(moment) if self.pace else (1.0, True)
            if steady:
                for key, ns, follows in _attribute(racer.plan, self.threads, steps, total):
                    samples.setdefault(key, []).append(ns / slow if follows else ns)
        now, here = self.timer.date(), this_host()
        new = [Measurement(profile.host, *key[:4], tuple(uninterrupted(ns)), now, about=_about(profile, key))
               for key, ns in samples.items()]
        self.store.add(new, {here.id: dict(here.facts)})
        profile.add(new)
        self._compare()

    def _taken_again(self, racers: list[racing.Racer]) -> tuple[list[tuple[racing.Racer, int, Any, float]], Yardstick]:
        """(route, moment, times of the steps, time of the call without the timers) of runs, and the yardstick."""
        end = min(self.timer.now() + AGAIN_S, self.latest)
        stick = self._stick()
        taken: list[tuple[racing.Racer, int, Any, float]] = []
        timers: dict[int, list[float]] = {id(r): [] for r in racers}
        runs = 0
        while runs < (1 if self._late() else LEAST_AGAIN) or (runs < MOST_AGAIN and self.timer.now() < end):
            for racer in racers:
                self._read(stick)
                plain = self.timer.call(racer.session, self.inputs, self.out) if racer.median < SHORT else None
                moment = stick.tick()
                steps, total = self.timer.steps(racer.session, self.inputs, self.out)
                taken.append((racer, moment, steps, total))
                timers[id(racer)].append(0.0 if plain is None else total - plain)
            runs += 1
        self._read(stick)
        timer = {key: max(0.0, quantile(sorted(found), 0.5)) for key, found in timers.items()}
        return [(r, moment, steps, total - timer[id(r)]) for r, moment, steps, total in taken], stick

    def _stick(self) -> Yardstick:
        """A yardstick that has the race's readings, for what its steps cost."""
        stick = Yardstick(self.pace.known if self.pace else (), closed=True)
        for steps in self.pace.racer.steps if self.pace else ():
            stick.read(steps)
        return stick

    def _read(self, stick: Yardstick) -> None:
        if self.pace:
            self.pace.steps.append(self.timer.steps(self.pace.racer.session, self.inputs, self.out)[0])
            stick.read(self.pace.steps[-1])

    # ---- the result -------------------------------------------------------------------------------------------------

    def _final(self, winner: racing.Racer, costs: Costs, first_gap: float | None) -> Route:
        # The winner under what is known now: samples that were taken in the race's own routes change bound and margins.
        best = solve(costs.instance, time_limit_s=self.time_limit_s)
        route = predict(costs, winner.route, best) or winner.route
        notes = {**route.notes, "race": self.races[-1], "races": len(self.races), "won_as": winner.names,
                 "measured_at_reference_ns": winner.reference_ns, "speed": self.speed,
                 "gap": _gap(route.predicted_ns, winner.reference_ns),
                 "gap_raw": _gap(route.predicted_ns, winner.median), "gap_before_measuring_again": first_gap}
        return dataclasses.replace(route, measured_ns=winner.median, notes=notes, host=costs.host)

    def _findings(self, route: Route, profile: Profile) -> list[str]:
        gap, findings = route.notes["gap"], []
        if gap is None or abs(gap) > FINDING:
            shown = "nothing" if gap is None else f"{route.predicted_ns / 1e6:.3f} ms"
            equal = route.notes["measured_at_reference_ns"]
            findings.append(f"predicted {shown}, measured {equal / 1e6:.3f} ms at the same speed of the machine"
                            + ("" if gap is None else f" ({100 * gap:+.1f} %)"))
        speed = self.speed
        if self.pace and 1.0 / speed["median"] > DISTURBED:
            findings.append(f"the machine was busy: it ran at {speed['median']:.2f} of its reference speed during the race")
        if 1.0 / (1.0 - speed["interrupted"]) > DISTURBED:
            findings.append(f"the race was interrupted by other processes, for {100 * speed['interrupted']:.0f} % of the "
                            f"time; tune again when nothing else runs")
        if speed["fastest"] > DISTURBED * speed["slowest"]:
            findings.append(f"the machine changed its speed during the race, by a factor of "
                            f"{speed['fastest'] / speed['slowest']:.2f}; tune again when nothing else runs")
        if self.accuracy == "quantised" and not self.bound.scales:
            findings.append("accuracy quantised was allowed, but no value has a scale, so that no quantised routine took "
                            "part: calibrate the model first (model.calibrate(samples), or --calibrate)")
        if not profile.notes.get("finite", True):
            findings.append("some outputs were infinite or not numbers on random inputs; their times may be untypical")
        if profile.notes.get("unmeasured"):
            findings.append(f"the budget ended before {profile.notes['unmeasured']} of {profile.notes['candidates']} "
                            f"candidates were measured; tune again, or with a larger budget_s")
        return findings

    def _report(self, route: Route, profile: Profile, first_gap: float | None) -> dict[str, Any]:
        speeds = {"reference_ns": self.pace.reference if self.pace else None, "race": self.speed,
                  "profile": profile.notes.get("speed")}
        return {"predicted_ns": route.predicted_ns, "measured_ns": route.measured_ns,
                "measured_at_reference_ns": route.notes["measured_at_reference_ns"], "gap": route.notes["gap"],
                "gap_raw": route.notes["gap_raw"], "speed": speeds, "gap_before_measuring_again": first_gap,
                "certificate": route.certificate, "solver": route.solver, "host": route.host,
                "race": self.races[-1], "races": self.races, "not raced": self.left_out,
                "findings": self._findings(route, profile), "profile": profile.notes,
                "numpy": of_route(route, self.bound).to_json(), "seconds": dict(self.seconds)}


def _gap(predicted: float | None, measured: float | None) -> float | None:
    """(predicted - measured) / measured."""
    return None if predicted is None or not measured else (predicted - measured) / measured


def _attribute(plan, threads: int, steps, total: float) -> Iterator[tuple[tuple, float, bool]]:
    """((problem, routine, version, variant, about), ns, whether the yardstick tells its clock) of one run of a plan."""
    times, bound = StepTimes.of(plan, steps), plan.bound
    versions = {(c.value, c.target): c.version for c in plan.conversions}
    for step, ns in times.adapts:
        version, about = versions[step.value, step.outs[0]], About(step.ins, step.outs).text()
        yield (step.problem, step.routine, version, step.variant, about), max(1.0, ns), on_cpu((*step.ins, *step.outs))
    for layer, problem in zip(bound.layers, bound.problems(threads)):
        c = plan.choices[layer.name]
        about = About(c.ins, c.outs, c.accuracy, 0, c.reference).text()
        yield (problem.text, *c.key, about), max(1.0, times.layers.get(layer.name, 0.0)), on_cpu((*c.ins, *c.outs))
    rest = total - sum(times.layers.values()) - sum(ns for _, ns in times.adapts)
    if rest > 0 and all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):  # others have other clocks
        yield (call_problem(bound, threads).text, CALL, 1, "", About((), ()).text()), rest, True


def _about(profile: Profile, key: tuple) -> str:
    """What the profile says of a routine already, else what the key of `_attribute` says."""
    known = profile.get(*key[:4])
    return known.about if known and known.about else key[4]
