"""From a profile and a bound net to a solver's instance, and from a solution to a route. No clock, no native core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import NoRoutineError, ProfileError
from ..locks import cached_property
from ..net.accuracy import accuracy_rank
from ..net.format import Format
from ..net.net import Layer, TensorSpec
from ..net.objective import LATENCY, THROUGHPUT
from ..net.problem import Problem, adapt_problem
from ..net.route import Choice, Conversion, Route, noted
from ..profiling.about import About
from ..profiling.devices import for_one_thread
from ..profiling.measurement import SIGMAS_OF_SPREAD, Measurement
from ..profiling.profile import Profile
from ..profiling.rounds import Counts
from ..profiling.yardstick import CALL, call_problem
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate, Restrict
from ..runtime.flat import Elsewhere
from ..runtime.fusion import MEMBER, Fusion
from ..solvers import contract
from ..words import counted


@dataclass(frozen=True)
class Priced:
    """A candidate with its measurement."""

    candidate: Candidate
    measurement: Measurement
    memory: int = 0

    @property
    def cost(self) -> float:
        """Median, nanoseconds."""
        return self.measurement.median

    def to_solver(self) -> contract.Candidate:
        """What a solver sees of it."""
        c, m = self.candidate, self.measurement
        return contract.Candidate(c.routine, c.variant, tuple(map(str, c.ins)), tuple(map(str, c.outs)), m.median,
                                  standard_error(m), self.memory)


def standard_error(m: Measurement) -> float:
    """How far the median may be off, ns: that of a normal distribution with the measured spread and count.

    The spread of single runs would call candidates equal whose medians are known to differ.
    """
    sigma = m.spread / SIGMAS_OF_SPREAD
    return 1.2533 * sigma / m.count ** 0.5  # a median's error is sqrt(pi/2) = 1.2533 times that of a mean


class Recorded:
    """The measurements of a profile by problem: of every routine its newest version only, emulated devices left out
    unless `emulated` (their times are no wall time). Raises ProfileError for a record that does not say its ports."""

    def __init__(self, profile: Profile, emulated: bool = False):
        self.profile, self.emulated = profile, emulated
        newest: dict[tuple[str, str], int] = {}
        for m in profile:
            newest[m.problem, m.routine] = max(m.version, newest.get((m.problem, m.routine), -1))
        self._by_problem: dict[str, list[Measurement]] = {}
        for m in sorted(profile, key=lambda m: m.key):
            if m.version == newest[m.problem, m.routine]:
                self._by_problem.setdefault(m.problem, []).append(m)
        # Where the number of threads does not matter, a measurement for another number will do.
        self._by_any_threads: dict[str, dict[tuple, Measurement]] = {}
        for m in sorted(profile, key=lambda m: (m.when, m.key)):
            if m.version == newest[m.problem, m.routine] and not About.goes_by_threads(m.about):
                self._by_any_threads.setdefault(for_one_thread(m.problem), {})[m.routine, m.version, m.variant] = m

    def of(self, problem: Problem) -> list[Priced]:
        """Everything measured for a problem, by name."""
        found = []
        exact = self._by_problem.get(problem.text, [])
        known = {(m.routine, m.version, m.variant) for m in exact}
        more = self._by_any_threads.get(for_one_thread(problem.text), {})
        for m in [*exact, *(m for key, m in sorted(more.items()) if key not in known)]:
            if not m.about:
                raise ProfileError(f"profile of host {self.profile.host}: the record of {m.routine} on {m.problem!r} "
                                   f"does not say the formats of its ports; measure again with this version")
            about = About.parse(m.about)
            if self.emulated or not about.emulated:
                c = Candidate(m.routine, m.version, m.variant, problem, problem, about.ins, about.outs, about.accuracy,
                              about.reference)
                found.append(Priced(c, m, about.memory))
        return found

    def call_ns(self, bound: BoundNet, threads: int) -> float:
        """What a call costs beside its steps; 0 when that was not measured."""
        m = self.profile.get(call_problem(bound, threads), CALL, 1, "")
        return m.median if m else 0.0


@dataclass
class Costs:
    """Priced candidates of every layer of a bound net, and of the conversions of every value.

    `layers`: name -> candidates, those of layers in blocks too. `fusion`: those of regions. `counts`: how often blocks run in a
    call, and the sizes at which the net was measured, which are those of `bound`. `sessions`: how many ran at the same time
    when it was. `unmeasured` is told by whoever knows the
    catalogue.
    """

    bound: BoundNet
    threads: int
    accuracy: str
    host: str
    layers: dict[str, list[Priced]]
    adapts: dict[str, dict[tuple[Format, Format], Priced]]
    fusion: Fusion
    call_ns: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    sessions: int = 1

    @staticmethod
    def of(bound: BoundNet, profile: Profile, threads: int, accuracy: str = "f32", restrict: Restrict | None = None,
           emulated: bool = False) -> Costs:
        """Raises ProfileError naming the layers about which the profile says nothing, RouteError for a restriction
        that leaves nothing."""
        recorded, limit = Recorded(profile, emulated), accuracy_rank(accuracy)
        counts = Counts.of(bound, profile, threads)
        bound = bound.at_sizes(counts.sizes)
        flat = bound.flat
        fusion = Fusion(bound, {name: _fine(recorded, bound.region_problem(region, threads), limit)
                                for name, region in bound.regions.items()})
        layers, missing = {}, []
        for place, problem in zip(flat.places, flat.problems(threads)):
            layer = place.layer
            layers[layer.name] = [p for p in _fine(recorded, problem, limit) if not place.net.uncalibrated(layer, p.candidate)]
            if not layers[layer.name]:
                missing.append((layer, problem))
        if missing:
            raise _incomplete(profile, missing, threads, accuracy)
        if restrict is not None:
            fusion = _restrict(bound, layers, fusion, restrict)
        else:
            layers = {name: [p for p in found if not p.candidate.reference] or found for name, found in layers.items()}
        adapts = _adapts(bound, recorded, layers, fusion, threads)
        return Costs(bound, threads, accuracy, profile.host, layers, adapts, fusion, recorded.call_ns(bound, threads),
                     counts.notes(bound) if bound.opened else {}, counts, profile.sessions)

    @cached_property
    def expected(self) -> dict[str, float]:
        """How often each block runs in a call; 1 for "", the net itself."""
        return self.counts.expected(self.bound)

    def count(self, layer: str) -> float:
        """How often a layer runs in a call; 1 for a region."""
        place = self.bound.flat.place.get(layer)
        return self.expected[place.block] if place else 1.0

    def to_solver(self, layer: Layer, p: Priced) -> contract.Candidate:
        """What a solver sees of a candidate: its price is that of all of the layer's runs in a call."""
        c, count = p.to_solver(), self.count(layer.name)
        ins, _ = self.bound.flat.ports(layer, p.candidate)
        return c if count == 1.0 and ins == p.candidate.ins else \
            c._replace(ins=tuple(map(str, ins)), cost=count * c.cost, spread=count * c.spread)

    @cached_property
    def instance(self) -> contract.Instance:
        """The solver's view."""
        return self.restricted(lambda priced: True)

    def restricted(self, allowed: Callable[[Priced], bool]) -> contract.Instance:
        """The instance with only the candidates for which `allowed(priced)`; all of them where a layer has none. Values
        pass through the element types of those candidates alone: a conversion would otherwise round where none does."""
        kept = {name: [p for p in found if allowed(p)] or found for name, found in self.layers.items()}
        regions, flat = self.fusion.candidates(allowed), self.bound.flat
        layers = [contract.LayerChoices(
            layer.name, flat.reads(layer), tuple(layer.outputs),
            [*(self.to_solver(layer, p) for p in kept[layer.name]), *regions.get(layer.name, ())]) for layer in flat.layers]
        types = {spec.dtype for spec in self.bound.outputs.values()} | {form.dtype for form in flat.given.values()}
        for found in (*kept.values(), *([p for p in found if allowed(p)] for found in self.fusion.priced.values())):
            types |= {form.dtype for p in found for form in (*p.candidate.ins, *p.candidate.outs)}
        made = {v for layer in self.bound.layers for v in layer.outputs} | set(self.bound.inputs)
        adapts = {v: {(str(a), str(b)): self._times(v) * p.cost for (a, b), p in table.items() if {a.dtype, b.dtype} <= types}
                  for v, table in self.adapts.items()}
        return contract.Instance(layers, {v: str(form) for v, form in flat.given.items()},
                                 {v: str(self.bound.output_format(v)) for v in self.bound.outputs if v in made}, adapts)

    def _times(self, value: str) -> float:
        """How often a value is converted in a call: as often as it is made."""
        return self.expected[self.bound.flat.block_of(value)]

    def priced(self, layer: str, choice: contract.Candidate) -> Priced:
        """The candidate behind a solver's one."""
        return next(p for p in self.layers[layer]
                    if (p.candidate.routine, p.candidate.variant) == (choice.routine, choice.variant))

    def choice_of(self, route: Route) -> dict[str, contract.Candidate] | str:
        """A route as a solver's choice; the name of a layer or region whose routine was not measured where there is
        one."""
        choice: dict[str, contract.Candidate] = {}
        for name, c in route.layers.items():
            key = c.routine, c.version, c.variant
            if name in route.regions:
                found = self.fusion.find(name, key)
                if found is None or self.fusion.regions[name].layers != route.regions[name]:
                    return name
                choice |= self.fusion.members(name, found)
            else:
                found = next((p for p in self.layers.get(name, []) if p.candidate.key == key), None)
                if found is None:
                    return name
                choice[name] = self.to_solver(self.bound.flat.place[name].layer, found)
        return choice

    # ---- routes -----------------------------------------------------------------------------------------------------

    def route(self, solution: contract.Solution, margins: Mapping | None = None) -> Route:
        """The route of a solution, with predictions. `margins`: layer -> (runner-up, extra cost) of solvers.margins."""
        layers: dict[str, Choice] = {}
        regions: dict[str, tuple[str, ...]] = {}
        for layer, choice in solution.choice.items():
            if choice.routine == MEMBER:
                continue
            name, p = self.fusion.behind(layer, choice) or (layer, self.priced(layer, choice))
            if name != layer:
                regions[name] = self.fusion.regions[name].layers
            c = p.candidate
            layers[name] = Choice(c.routine, c.version, c.variant, c.ins, c.outs, self.count(name) * p.cost, "profile")
            other, extra = (margins or {}).get(layer, (None, None))
            if other is not None:
                layers[name].runner_up = {"routine": other.routine, "variant": other.variant, "cost_ns": other.cost}
                layers[name].margin_ns = extra
        conversions = [self._conversion(*c) for c in solution.conversions]
        certificate = "optimal" if solution.certificate == "optimal" else f"gap {100 * solution.gap:.1f} %"
        return Route(self.bound.signature, self.threads, self.accuracy, layers, conversions,
                     solution.cost + self.call_ns, solution.lower_bound + self.call_ns, certificate, solution.method,
                     self.host, notes={**noted(self.bound.shapes), **self.notes, "call_ns": self.call_ns}, regions=regions,
                     objective=THROUGHPUT if self.sessions > 1 else LATENCY, sessions=self.sessions)

    def _conversion(self, value: str, source: str, target: str) -> Conversion:
        pair = Format.parse(source), Format.parse(target)
        p = self.adapts[value][pair]
        return Conversion(value, *pair, p.candidate.routine, p.candidate.version, p.candidate.variant,
                          self._times(value) * p.cost)


def _fine(recorded: Recorded, problem: Problem, limit: int) -> list[Priced]:
    """What was measured for a problem and is accurate enough."""
    return [p for p in recorded.of(problem) if accuracy_rank(p.candidate.accuracy) <= limit]


def _restrict(bound: BoundNet, layers: dict[str, list[Priced]], fusion: Fusion, restrict: Restrict) -> Fusion:
    """Narrow `layers` to what a restriction allows; gives what it leaves of the regions: candidates that are allowed for
    every member. Raises NoRoutineError for a layer that is left with nothing, RouteError for a word without effect."""
    select, banned = getattr(restrict, "select", None), set()
    everything: list[list[Candidate]] = [[] for _ in bound.layers]
    for place in bound.flat.places:
        i, layer = place.position, place.layer
        if bound.flat.has_blocks(layer):
            everything[i] += [p.candidate for p in layers[layer.name]]
            continue
        own = layers[layer.name]
        whole = [(name, p) for name in fusion.around(layer.name) for p in fusion.priced[name]]
        candidates = [p.candidate for p in own] + [p.candidate for _, p in whole]
        kept = Elsewhere(restrict, i).select(i, layer, candidates) if place.block else \
            select(i, layer, candidates) if select else [c for c in candidates if restrict(i, layer, c)]
        allowed = {id(c) for c in kept}
        if not kept:
            raise NoRoutineError(f"layer {i} {layer.name!r} ({layer.kind}): the restriction leaves none of its "
                                 f"measured candidates {', '.join(map(str, candidates))}; widen it, or profile with it")
        banned |= {(name, p.candidate.key) for name, p in whole if id(p.candidate) not in allowed}
        own = [p for p in own if id(p.candidate) in allowed]
        layers[layer.name] = [p for p in own if not p.candidate.reference] or own
        everything[i] += kept
    check = getattr(restrict, "check", None)
    if check:
        check(bound.layers, everything)
    return Fusion(bound, {name: [p for p in found if (name, p.candidate.key) not in banned]
                          for name, found in fusion.priced.items()})


def _adapts(bound: BoundNet, recorded: Recorded, layers: Mapping[str, list[Priced]], fusion: Fusion,
            threads: int) -> dict[str, dict[tuple[Format, Format], Priced]]:
    """Value -> the cheapest measured adapt between every two formats that it may pass through."""
    flat = bound.flat
    formats: dict[str, set[Format]] = {name: {form} for name, form in flat.given.items()}
    for name in bound.outputs:
        formats.setdefault(name, set()).add(bound.output_format(name))
    for layer in flat.layers:
        for p in layers[layer.name]:
            ins, outs = flat.ports(layer, p.candidate)
            for value, form in (*zip(flat.reads(layer), ins), *zip(layer.outputs, outs)):
                formats.setdefault(value, set()).add(form)
    for value, form in fusion.formats():
        formats.setdefault(value, set()).add(form)
    memo: dict[tuple[TensorSpec, frozenset[Format]], dict] = {}
    tables = {}
    for value, known in formats.items():
        key = flat.spec(value), frozenset(known)
        if key not in memo:
            memo[key] = _adapt_table(*key, recorded, threads)
        tables[value] = memo[key]
    return tables


def _adapt_table(spec: TensorSpec, known: frozenset[Format], recorded: Recorded,
                 threads: int) -> dict[tuple[Format, Format], Priced]:
    from ..runtime.layouts import host_formats
    through = sorted(known | (set(host_formats(spec)) if len(known) > 1 else set()))
    table = {}
    for source in through:
        for target in through:
            if source != target:
                found = recorded.of(adapt_problem(spec, source, target, threads))
                if found:
                    table[source, target] = min(found, key=lambda p: (p.cost, p.candidate.key))
    return table


def _incomplete(profile: Profile, missing: list[tuple[Layer, Problem]], threads: int, accuracy: str) -> ProfileError:
    layer, problem = missing[0]
    others = f" and {counted(len(missing) - 1, 'other layer')}" if len(missing) > 1 else ""
    model = profile.facts.get("cpu") or "unknown processor"
    options = f"--threads {threads}" + (f" --accuracy {accuracy}" if accuracy != "f32" else "")
    return ProfileError(f"profile of host {profile.host} ({model}): expected a measurement of accuracy class {accuracy} "
                        f"for every layer at {counted(threads, 'thread')}, got none for layer {layer.name!r}{others} "
                        f"({problem.text!r}); measure this model, with these shapes and threads, on that machine: "
                        f"pathweave profile MODEL {options}, or pathweave.profile(model, threads={threads}) in Python")
