"""The tuner: measure what is missing, solve, race the best routes against the plain ones, keep the winner."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import Error, NoRoutineError, OutOfMemoryError, RouteError, SolverError
from ..net.objective import Aim
from ..net.route import Route
from ..profiling.devices import Devices
from ..profiling.measurement import quantile
from ..profiling.passes import LONG_NS
from ..profiling.profile import Profile
from ..profiling.protocol import USUAL_S, profile_bound, this_host
from ..profiling.store import Store
from ..profiling.timed import MACHINE, RunTimer
from ..profiling.yardstick import Yardstick, on_cpu, yardstick_key
from ..progress import Progress, part
from ..runtime.bound import BoundNet
from ..runtime.calibrate import uncalibrated_note
from ..runtime.catalogue import Restrict
from ..runtime.defaults import default_route, usual_route
from ..runtime.inputs import arrays_for_outputs, random_inputs
from ..runtime.interpreted import of_route
from ..runtime.overlap import overlap_of
from ..runtime.prepare import KernelCache
from ..runtime.routes import plan_route
from ..solvers import contract, evaluate, k_best, margins, solve
from . import crowd, findings
from . import race as racing
from .again import measurements, runs_of
from .costs import Costs
from .findings import gap, off
from .plain import plain_routes

#: So many of the solver's best routes take part in the race.
BEST = 3
#: A plain route that is predicted to be slower than the best one by more than this factor does not take part, but for the
#: best plain one.
CHANCELESS = 1.5
#: Of the solver's best routes those of long calls (LONG_NS) do not race that are predicted to take at most this share longer
#: than the best one: a race of few rounds could not tell them apart.
ALIKE = 0.002
#: Seconds of one race; it takes RACE_SHARE of the time that profiling took where that is longer, because routes that are
#: nearly equal need many rounds.
RACE_S, RACE_SHARE = 1.2, 0.1
#: Share of the budget for the profile; the race and what follows take the rest.
PROFILE_SHARE = 0.85
#: A tuning should end after LATEST times the budget and LATEST_S seconds more: then races end with their least number of
#: rounds, and nothing is measured again.
LATEST, LATEST_S = 1.1, 1.5
#: There is a second race unless the first one and its preparations took so many seconds more than a race may.
AGAIN_SLACK_S = 0.8

T = TypeVar("T")
#: What tells routes apart that run differently, and routes by it, with the names under which they race.
Identity = tuple[Any, ...]
Routes = dict[Identity, tuple[list[str], Route]]


def solved_routes(costs: Costs, time_limit_s: float = 10.0, count: int = 1) -> list[Route]:
    """The best routes under the measured costs, cheapest first; the first with its margins. Raises SolverError."""
    solutions = ([solve(costs.instance, time_limit_s=time_limit_s)] if count == 1 else
                 k_best(costs.instance, count, time_limit_s=time_limit_s))
    first = costs.route(solutions[0], margins(costs.instance, solutions[0]))
    return [first, *(costs.route(s) for s in solutions[1:])]


def priced_default(costs: Costs, restrict: Restrict | None = None) -> Route:
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


def identity(route: Route) -> Identity:
    """Equal for routes that run the same."""
    return (tuple((n, c.routine, c.version, c.variant, c.ins, c.outs) for n, c in sorted(route.layers.items())),
            tuple(sorted((c.value, c.source, c.target, c.routine, c.variant) for c in route.conversions)))


@dataclasses.dataclass
class YardstickRoute:
    """The default route, whose steps tell the machine's speed. `known`: the levels of their sum that the profile knows, ns.
    `racer`: in the last race. `steps`: ns per run and step of its runs outside of races."""

    route: Route
    known: tuple[float, ...]
    racer: racing.YardstickRacer | None = None
    steps: list[list[int]] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> float:
        """Nanoseconds of a reading at reference speed."""
        return Yardstick(self.known).reference


@dataclasses.dataclass
class Race:
    """A race that took place. `rounds`: slowness of each. `yardstick`: what ran in every round to tell the speed. `beside`:
    what ran in every round and could not win."""

    racers: list[racing.Racer]
    winner: racing.Racer
    rounds: list[float]
    yardstick: racing.YardstickRacer | None
    table: list[dict[str, Any]]
    beside: list[racing.Racer] = dataclasses.field(default_factory=list)


class Tuner:
    """One tuning of a bound net; `tune()` does all of it. `timer`: for throughput one that runs the sessions of the `aim`
    beside each other.

    `phase`: what it does now. `seconds`: per phase. `latest`: when it should have ended, by the timer. `racers`: every route
    that was ever made ready to race, by its identity. `races`: in order. `left_out`: routes that did not race, and why.
    `speed`: of the machine during the last race, 1 is the reference speed (without a reference, that of the median round):
    median, slowest, fastest, and the share of the winner's time that other processes took.
    """

    def __init__(self, bound: BoundNet, *, aim: Aim, accuracy: str, budget_s: float, restrict: Restrict | None,
                 store: Store, progress: Progress, time_limit_s: float = 10.0, timer: RunTimer = MACHINE):
        self.bound, self.aim, self.threads, self.accuracy, self.budget_s = bound, aim, aim.threads, accuracy, budget_s
        self.restrict, self.store, self.progress, self.time_limit_s = restrict, store, progress, time_limit_s
        self.timer = timer
        self.cache = KernelCache(bound)
        self.inputs = random_inputs(bound)
        self.out = arrays_for_outputs(bound)
        self.phase = "profile"
        self.seconds = {"profile": 0.0, "solve": 0.0, "race": 0.0, "measure again": 0.0}
        self.latest = timer.now() + LATEST * budget_s + LATEST_S
        self.yardstick: YardstickRoute | None = None
        self.racers: dict[Identity, racing.Racer] = {}
        self.races: list[Race] = []
        self.beside: list[racing.Racer] = []
        self.left_out: list[dict[str, Any]] = []
        self.speed: dict[str, float] = {}

    def tune(self) -> tuple[Route, dict[str, Any]]:
        """The winner, with predicted and measured times, and the report.

        1. Measure every candidate of every layer, in place. 2. Solve: the best routes under these costs. 3. Race them
        against the default route and other plain ones, whole calls. 4. Where the prediction was wrong, measure the steps of
        the raced routes again, in place, solve again, and race what is new.
        """
        profile = self._timed("profile", lambda: profile_bound(
            self.bound, threads=self.threads, budget_s=PROFILE_SHARE * self.budget_s, accuracy=self.accuracy,
            restrict=self.restrict, store=self.store, progress=part(self.progress, 0.0, 0.8), timer=self.timer,
            sessions=self.aim.at_once, thorough=self.budget_s > USUAL_S))
        costs = self._costs(profile)
        self.bound = costs.bound  # at the sizes that were measured
        self.yardstick = self._yardstick_of(costs, profile)
        routes = self._timed("solve", lambda: self._routes(costs))
        winner = self._timed("race", lambda: self._race(routes))
        wrong = self._mispredicted(winner, routes)
        known: Costs | None = None
        if wrong and not self._late():
            self._timed("measure again", lambda: self._measure_again(wrong, profile))
            known = newer = self._costs(profile)
            best = self._timed("solve", lambda: solved_routes(newer, self.time_limit_s))[0]
            if identity(best) not in self.racers and not self._late() and self.seconds["race"] < self._race_s() + AGAIN_SLACK_S:
                again = {identity(best): (["solved again"], best)}
                winner = self._timed("race", lambda: self._race(again, winner))
                costs = newer if winner.route is best else costs
        route = self._final(winner, costs, known)
        return route, self._report(route, profile)

    def _mispredicted(self, winner: racing.Racer, routes: Routes) -> list[racing.Racer]:
        """The winner and the solver's favourite, where their predictions are off."""
        favourite = self.racers.get(next(iter(routes)), winner)
        found = [winner] if favourite is winner else [winner, favourite]
        return [r for r in found if off(gap(r.route.predicted_ns, r.reference_ns))]

    def _timed(self, phase: str, body: Callable[[], T]) -> T:
        start, self.phase = self.timer.now(), phase
        try:
            return body()
        finally:
            self.seconds[phase] += self.timer.now() - start

    def _late(self) -> bool:
        return self.timer.now() > self.latest

    def _costs(self, profile: Profile) -> Costs:
        return Costs.of(self.bound, profile, self.threads, self.accuracy, self.restrict)

    def _yardstick_of(self, costs: Costs, profile: Profile) -> YardstickRoute | None:
        """The default route with its time at reference speed; None where the profile does not know it, or where it
        leaves the CPU: times are then compared as the clock told them."""
        with contextlib.suppress(NoRoutineError):
            # Not the priced one: its conversions are the cheapest ones, not those of the profile's readings.
            route = default_route(costs.bound, costs.threads, costs.accuracy, self.restrict)
            known = profile.get(*yardstick_key(self.bound, self.threads, route.layers))
            if known is not None and all(on_cpu((*c.ins, *c.outs)) for c in route.layers.values()):
                return YardstickRoute(route, known.samples)
        return None

    # ---- routes -----------------------------------------------------------------------------------------------------

    def _routes(self, costs: Costs) -> Routes:
        """Routes for the race: the solver's best ones first, then plain ones, without those that have no chance."""
        self.progress(0.81, "solving")
        named = [(f"solved {i + 1}", r) for i, r in enumerate(solved_routes(costs, self.time_limit_s, BEST))]
        plain = list(plain_routes(costs, self.time_limit_s))
        with contextlib.suppress(NoRoutineError):
            default = priced_default(costs, self.restrict)
            # It may take what a restriction excludes, what cannot be prepared, and what turned out wrong.
            if not isinstance(costs.choice_of(default), str):
                plain.append(("default", default))
            usual = usual_route(costs.bound, costs.threads, costs.accuracy, self.restrict)
            if not isinstance(costs.choice_of(usual), str):
                plain.append(("untuned", predict(costs, usual) or usual))
        best_plain = min((r.predicted_ns for _, r in plain if r.predicted_ns is not None), default=0.0)
        limit = max(CHANCELESS * (named[0][1].predicted_ns or 0.0), best_plain)
        hopeless = [(n, r) for n, r in plain if r.predicted_ns is not None and r.predicted_ns > limit]
        self.left_out = [{"name": n, "predicted_ns": r.predicted_ns} for n, r in hopeless]
        best = named[0][1].predicted_ns or 0.0
        alike = [(n, r) for n, r in named[1:] if LONG_NS <= (r.predicted_ns or 0.0) <= (1 + ALIKE) * best]
        self.left_out += [{"name": n, "predicted_ns": r.predicted_ns, "reason": f"it is predicted to take at most {ALIKE:.1%} "
                           "longer than the best one: a race could not tell"} for n, r in alike]
        routes: Routes = {}
        for name, route in [*(x for x in named if x not in alike), *(p for p in plain if p not in hopeless)]:
            routes.setdefault(identity(route), ([], route))[0].append(name)
        return routes

    def _affordable(self, routes: Routes) -> set[Identity]:
        """The routes for whose least race there is time, the yardstick's runs included: the favourite, the default route and
        that of the untuned model in any case."""
        runs = 1 + racing.LEAST_ROUNDS
        left = self.latest - self.timer.now() - (runs * self.yardstick.reference / 1e9 if self.yardstick else 0.0)
        kept = set()
        for i, (key, (names, route)) in enumerate(routes.items()):
            left -= runs * (route.predicted_ns or 0.0) / 1e9
            if i == 0 or left > 0 or {"default", "untuned"} & set(names):
                kept.add(key)
        return kept

    # ---- the race ---------------------------------------------------------------------------------------------------

    def _race_s(self) -> float:
        """Seconds that a race takes."""
        return max(RACE_S, RACE_SHARE * self.seconds["profile"])

    def _race(self, routes: Routes, previous: racing.Racer | None = None) -> racing.Racer:
        """Race routes, and who won before; gives the winner. A route that does not fit into memory as a whole is left out; one
        for which there is no time takes part where no other can be planned. Raises OutOfMemoryError, RouteError where none
        can be planned."""
        running = [previous] if previous else []
        failure: Error | None = None
        affordable = self._affordable(routes)
        for key, (names, route) in sorted(routes.items(), key=lambda entry: entry[0] not in affordable):
            if key not in affordable and running:
                self.left_out += [{"name": n, "predicted_ns": route.predicted_ns} for n in names]
                continue
            self.progress(0.82, f"preparing {names[0]}")
            try:
                plan = plan_route(route, self.bound, self.threads, self.cache)
                self.racers[key] = crowd.racer_of(names, route, plan, self.aim)
            except (OutOfMemoryError, RouteError) as e:
                failure = e
                self.left_out += [{"name": n, "predicted_ns": route.predicted_ns, "reason": str(e)} for n in names]
                continue
            running.append(self.racers[key])
        if not running and failure is not None:
            raise failure
        yardstick, beside = self._yardstick_racer(running), self._beside()
        winner, rounds = racing.race(running, self.inputs, self.out, self._race_s(), part(self.progress, 0.83, 0.98),
                                     yardstick, self.latest, self.timer, beside)
        self.races.append(Race(running, winner, rounds, yardstick, [], beside))
        self._compare()
        return winner

    def _beside(self) -> list[racing.Racer]:
        """For throughput, one session with all threads: it is told how it compares, and cannot win."""
        if self.aim.throughput and not self.beside:
            name, route = crowd.counterpart(self.bound, self.aim, self.accuracy, self.restrict, self.store, self.time_limit_s)
            with contextlib.suppress(OutOfMemoryError, RouteError):
                plan = plan_route(route, self.bound, self.aim.team)
                session = plan.session()
                self.beside = [crowd.CrowdRacer([name], route, plan, session, sessions=[session], lanes=self.aim.at_once)]
        return self.beside

    def _yardstick_racer(self, running: list[racing.Racer]) -> racing.YardstickRacer | None:
        """The yardstick for a race; the plan is that of the racer with its route, where there is one."""
        if self.yardstick is None:
            return None
        key = identity(self.yardstick.route)
        same = next((r for r in running if identity(r.route) == key), self.yardstick.racer)
        plan = same.plan if same else plan_route(self.yardstick.route, self.bound, self.threads, self.cache)
        self.yardstick.racer = racing.YardstickRacer(["yardstick"], self.yardstick.route, plan,
                                                     same.session if same else plan.session())
        return self.yardstick.racer

    def _compare(self) -> None:
        """Set the times of the last race at reference speed, and the speed during it, under what is known now."""
        race, factor = self.races[-1], 1.0
        if self.yardstick and race.yardstick:
            factor = self.yardstick.reference / race.yardstick.reading(race.rounds, self.yardstick.steps)
        for racer in (*race.racers, *race.beside):
            racer.reference_ns = racer.level * factor
        ordered = sorted(race.rounds)
        self.speed = {"median": factor, "slowest": factor / quantile(ordered, 0.9), "fastest": factor / quantile(ordered, 0.1),
                      "interrupted": max(0.0, 1.0 - race.winner.level / race.winner.median)}
        race.table = [{**racer.row(), "kept": racer is race.winner} for racer in race.racers]
        race.table += [{**racer.row(), "kept": False, "beside": True, "predicted_ns": None} for racer in race.beside]

    # ---- steps again, in place --------------------------------------------------------------------------------------

    def _measure_again(self, racers: list[racing.Racer], profile: Profile) -> None:
        """Time the steps of routes in the very route, in turn with the yardstick, and add them to profile and store."""
        self.progress(0.98, "measuring steps again, in the raced routes")
        racer, route = self.races[-1].yardstick, self.yardstick
        yardstick = Yardstick(route.known if route else (), closed=True)
        for steps in racer.steps if racer else ():  # the race's readings say what its steps cost
            yardstick.read(steps)

        def read() -> None:
            if racer and route:
                route.steps.append(self.timer.steps(racer.session, self.inputs, self.out)[0])
                yardstick.read(route.steps[-1])
        runs = runs_of(racers, self.inputs, self.out, self.timer, self.latest, read, yardstick)
        here = this_host()
        new = measurements(runs, self.threads, profile, yardstick.slowness, self.timer.date())
        self.store.add(new, Devices.here(self.aim.at_once).facts({m.host for m in new}, here.facts))
        profile.add(new)
        self._compare()

    # ---- the result -------------------------------------------------------------------------------------------------

    def _final(self, winner: racing.Racer, costs: Costs, known: Costs | None) -> Route:
        """The winner with the prediction, the bound and the margins of `costs`, those of before it raced. `known`: the costs
        after measuring again, under which `notes` say how far it is off."""
        best = solve(costs.instance, time_limit_s=self.time_limit_s)
        route = predict(costs, winner.route, best) or winner.route
        later = predict(known, winner.route) if known else None
        overlap = overlap_of(winner.plan, winner.session, self.inputs)
        beside = {"overlap": overlap.to_json()} if overlap else {}
        notes = {**route.notes, **beside, "race": self.races[-1].table, "races": len(self.races), "won_as": winner.names,
                 "measured_at_reference_ns": winner.reference_ns, "speed": self.speed,
                 "gap": gap(route.predicted_ns, winner.reference_ns),
                 "gap_raw": gap(route.predicted_ns, winner.median),
                 "gap_after_measuring_again": gap(later.predicted_ns, winner.reference_ns) if later else None}
        if isinstance(winner, crowd.CrowdRacer):
            notes["throughput"] = crowd.report(winner, self.races[-1].beside, self.aim)
        return dataclasses.replace(route, measured_ns=winner.median, notes=notes, host=costs.host, objective=self.aim.objective,
                                   sessions=self.aim.sessions)

    def _findings(self, route: Route, profile: Profile) -> list[str]:
        uncalibrated = uncalibrated_note(self.bound, self.accuracy, self.threads)
        return [*findings.of_prediction(route.predicted_ns, route.notes["measured_at_reference_ns"]),
                *findings.of_machine(self.speed, self.yardstick is not None),
                *(crowd.finding(route.notes["throughput"]) if self.aim.throughput else []),
                *([uncalibrated] if uncalibrated else []), *findings.of_profile(profile)]

    def _report(self, route: Route, profile: Profile) -> dict[str, Any]:
        speeds = {"reference_ns": self.yardstick.reference if self.yardstick else None, "race": self.speed,
                  "profile": profile.notes.get("speed")}
        tables = [race.table for race in self.races]
        return {"objective": route.objective, **({"throughput": route.notes["throughput"]} if self.aim.throughput else {}),
                "predicted_ns": route.predicted_ns, "measured_ns": route.measured_ns,
                "measured_at_reference_ns": route.notes["measured_at_reference_ns"], "gap": route.notes["gap"],
                "gap_raw": route.notes["gap_raw"], "speed": speeds,
                "gap_after_measuring_again": route.notes["gap_after_measuring_again"],
                "certificate": route.certificate, "solver": route.solver, "host": route.host,
                "race": tables[-1], "races": tables, "not raced": self.left_out,
                "findings": self._findings(route, profile), "profile": profile.notes,
                "numpy": of_route(route, self.bound).to_json(), "seconds": dict(self.seconds)}
