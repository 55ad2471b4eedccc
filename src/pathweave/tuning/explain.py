"""Why a layer is computed as it is: candidates, refusals, the runner-up, conversions paid, the origin of every number."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import DeviceError, InputError, NoRoutineError
from ..net.objective import LATENCY
from ..net.problem import adapt_problem
from ..net.route import Route
from ..net.variant import Variant
from ..profiling.assign import Adapts, Assigner
from ..profiling.measurement import Measurement
from ..profiling.profile import Profile
from ..profiling.prospects import Prospects, slots_of
from ..profiling.rounds import sizes_of
from ..runtime.arguments import AnyModel, AnyRestrict, Shapes
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate
from ..runtime.flat import Flat, Place
from ..runtime.fusion import MEMBER, stands_for
from ..runtime.model import load
from ..runtime.routes import carried_from
from ..runtime.runnable import check_threads
from ..words import counted
from .costs import Costs


@dataclass
class Row:
    """A candidate. Times in nanoseconds, None where nothing was measured; `when`: seconds since 1970, of the last
    samples; `extra_ns`: of the layer alone, against the fastest candidate. `estimated_ns`: what was expected without measuring
    (`runtime/estimates.py`), None where this build or machine does not know the candidate. `source`: who measured it, or why
    nobody did: "not measured: estimated at 4.1 times the best"."""

    routine: str
    version: int
    variant: str
    ins: list[str]
    outs: list[str]
    accuracy: str
    reference: bool
    memory: int | None = None
    cost_ns: float | None = None
    p10_ns: float | None = None
    spread_ns: float | None = None
    count: int = 0
    when: float | None = None
    extra_ns: float | None = None
    chosen: bool = False
    runner_up: bool = False
    source: str = "not measured"
    estimated_ns: float | None = None


@dataclass
class Explanation:
    """`candidates`: cheapest first, unmeasured ones last. `refusals`: (routine, reason). `chosen`: the route's entry.
    `margin_ns`: what the best whole route with the runner-up costs more; exact where `exact`, else for the exchange of
    this layer alone. `conversions`: those of the layer's inputs and outputs, with their price and who measured it. `block`: the
    block that the layer is in, "" for none, `runs`: how often that runs in a call. `blocks`: those that the layer has, with
    `runs`, and whether they were `counted` or never ran. Times of candidates are of one run, margins and conversions of all
    runs in a call. `sizes`: that stand for open ones. `objective` and `sessions`: of the route; times are those beside as many
    sessions."""

    layer: str
    index: int
    kind: str
    problem: str
    threads: int
    host: str
    candidates: list[Row] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    chosen: Row | None = None
    runner_up: Row | None = None
    margin_ns: float | None = None
    exact: bool = True
    conversions: list[dict[str, Any]] = field(default_factory=list)
    route_ns: float | None = None
    certificate: str = ""
    notes: list[str] = field(default_factory=list)
    block: str = ""
    runs: float = 1.0
    blocks: list[dict[str, Any]] = field(default_factory=list)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    objective: str = LATENCY
    sessions: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; what is about blocks and open sizes only where there are any."""
        found = asdict(self)
        if not self.block and not self.blocks:
            found = {k: v for k, v in found.items() if k not in ("block", "runs", "blocks")}
        return found if self.sizes else {k: v for k, v in found.items() if k != "sizes"}


def explain(model: AnyModel, layer: str | int, profile: Profile, *, accuracy: str = "f32", threads: int | None = None,
            shapes: Shapes = None, restrict: AnyRestrict = None, route: Route | None = None,
            time_limit_s: float = 10) -> Explanation:
    """Everything that decided how one layer (by name, or by its position from 0) is computed.

    `route`: explain this one (None: the one that `solve` gives). Refusals are those of this build; a profile of another
    machine has none. Raises InputError for a layer that is not there, ProfileError, SolverError.
    """
    from ..runtime.descriptor import restriction
    from .api import profiled_threads
    from .tuner import identity, predict, solved_routes
    bound = load(model).bind(shapes)
    number = profiled_threads(bound, profile) if threads is None else check_threads(threads)
    place = _place(bound, layer)
    restrict = restriction(restrict)
    costs = Costs.of(bound, profile, number, accuracy, restrict)
    bound, flat = costs.bound, costs.bound.flat
    index = next(i for i, p in enumerate(flat.places) if p.layer.name == place.layer.name)
    solved = solved_routes(costs, time_limit_s)[0]
    before = carried_from(route, bound.signature, number, profile.host) if route is not None else []
    tuned = route
    if route is not None and identity(route) == identity(solved):
        route = None
    shown = solved if route is None else predict(costs, route) or route
    name, problem = place.layer.name, flat.problems(number)[index]
    e = Explanation(name, place.position, place.layer.kind, problem.text, number, profile.host,
                    route_ns=shown.predicted_ns, certificate=shown.certificate, objective=shown.objective,
                    sessions=(tuned or shown).sessions)
    _add_blocks(e, costs, place.block)
    e.candidates = _rows(costs, name)
    _add_unmeasured(e, flat, index, number, accuracy, restrict, profile)
    if before:
        e.notes.append(f"the route is carried over: it was tuned for {' and '.join(before)}")
    _estimate(e, flat, index, number, accuracy)
    _mark(e, shown, route is None)
    _add_margin(e, costs, shown, route is None)
    e.conversions = _conversions(shown, index, costs)
    return e


def expect(model: AnyModel, layer: str | int, *, accuracy: str = "f32", threads: int | None = None, shapes: Shapes = None,
           restrict: AnyRestrict = None, route: Route | None = None) -> Explanation:
    """The same where nothing was measured: candidates by what they are expected to take on this machine, the least first.

    `route`: explain this one (None: that of least estimated time, on which the untuned model runs). Raises InputError for a
    layer that is not there, NoRoutineError.
    """
    from ..profiling.protocol import this_host
    from ..runtime.defaults import usual_route
    from ..runtime.descriptor import restriction
    from ..runtime.estimated import estimator_of
    loaded = load(model)
    bound = loaded.bind(shapes)
    number, restrict = loaded.threads if threads is None else check_threads(threads), restriction(restrict)
    place, flat = _place(bound, layer), bound.flat
    index = next(i for i, p in enumerate(flat.places) if p.layer.name == place.layer.name)
    shown = route or usual_route(bound, number, accuracy, restrict)
    e = Explanation(place.layer.name, place.position, place.layer.kind, flat.problems(number)[index].text, number,
                    this_host().id, block=place.block)
    estimator = estimator_of(bound, number)

    def row(c: Candidate, variant: str) -> Row:
        return Row(c.routine, c.version, variant, list(map(str, c.ins)), list(map(str, c.outs)), c.accuracy, c.reference,
                   estimated_ns=estimator.price(c))

    def by_estimate(rows: Iterable[Row]) -> list[Row]:
        return sorted(rows, key=lambda r: r.estimated_ns or 0.0)
    found, refusals = flat.candidates(index, number, accuracy=accuracy, restrict=restrict)
    e.candidates = by_estimate(row(c, c.variant) for c in found)
    for name, region in bound.regions.items():
        if e.layer in region.layers and restrict is None:
            e.candidates += by_estimate(row(c, str(Variant.parse(c.variant).for_region(name)))
                                        for c in bound.region_candidates(region, number, accuracy))
    e.refusals = [(r.routine, r.reason) for r in refusals]
    _mark(e, shown, True)
    return e


def _add_blocks(e: Explanation, costs: Costs, block: str) -> None:
    """How often the layer runs in a call, and the blocks that it has."""
    e.block, e.runs, e.sizes = block, costs.count(e.layer), sizes_of(costs.bound, costs.counts)
    e.blocks = [{"block": name, "runs": costs.expected[name], "counted": costs.counts.ran(name)}
                for name in costs.bound.flat.blocks if costs.bound.flat.owner(name).layer.name == e.layer]


def _place(bound: BoundNet, layer: str | int) -> Place:
    """A layer of the net by its name or position, or one of a block by its whole name."""
    name = str(layer)
    if not isinstance(layer, int) and name not in bound.index and name not in bound.regions and name in bound.flat.place:
        return bound.flat.place[name]
    return bound.flat.place[bound.layers[_position(bound, layer)].name]


def _position(bound: BoundNet, layer: str | int) -> int:
    if isinstance(layer, int) or (layer not in bound.index and str(layer).isdigit()):
        index = int(layer)
        if 0 <= index < len(bound.layers):
            return index
        raise InputError(f"layer {layer}: expected a position from 0 to {len(bound.layers) - 1}")
    if layer in bound.index:
        return bound.index[layer]
    if layer in bound.regions:
        return bound.index[bound.regions[layer].last]
    close = difflib.get_close_matches(layer, bound.flat.place, 5) or list(bound.index)[:5]
    raise InputError(f"layer {layer!r}: expected the name or the position of one of {counted(len(bound.layers), 'layer')}"
                     f", such as {', '.join(map(repr, close))}; `pathweave show` lists them")


def _rows(costs: Costs, layer: str) -> list[Row]:
    """Measured candidates, cheapest first, then those of the regions around the layer."""
    priced = sorted(costs.layers[layer], key=lambda p: (p.cost, p.candidate.key))
    rows = []
    for p in priced:
        c, m = p.candidate, p.measurement
        rows.append(Row(c.routine, c.version, c.variant, list(map(str, c.ins)), list(map(str, c.outs)), c.accuracy,
                        c.reference, p.memory, m.median, m.p10, m.spread, m.count, m.when, m.median - priced[0].cost,
                        source=_source(m)))
    for name in costs.fusion.around(layer):
        for p in sorted(costs.fusion.priced[name], key=lambda p: (p.cost, p.candidate.key)):
            c, m = p.candidate, p.measurement
            variant = str(Variant.parse(c.variant).for_region(name))
            rows.append(Row(c.routine, c.version, variant, list(map(str, c.ins)), list(map(str, c.outs)),
                            c.accuracy, c.reference, p.memory, m.median, m.p10, m.spread, m.count, m.when,
                            source=_source(m)))
    return rows


def _source(m: Measurement) -> str:
    return f"host {m.host}, protocol {m.protocol}, {counted(m.count, 'sample')}"


def _add_unmeasured(e: Explanation, flat: Flat, index: int, threads: int, accuracy: str, restrict: Any,
                    profile: Profile) -> None:
    """Candidates of this build that the profile does not know, and refusals."""
    known = {(r.routine, r.version, r.variant) for r in e.candidates}
    try:
        from ..profiling.protocol import this_host
        if e.host != this_host().id:
            e.notes.append(f"the profile is of host {e.host}, not of this machine: candidates that were not measured "
                           f"there, and refusals, are not known")
            return
        found, refusals = flat.candidates(index, threads, accuracy=accuracy, restrict=restrict)
    except DeviceError as error:
        e.notes.append(str(error))
        return
    e.refusals = [(r.routine, r.reason) for r in refusals]
    new = [c for c in found if c.key not in known]
    if new:
        why = _reasons(flat.bound, e.layer, threads, accuracy, restrict, profile)
        e.candidates += [Row(c.routine, c.version, c.variant, list(map(str, c.ins)), list(map(str, c.outs)), c.accuracy,
                             c.reference, source=why(c)) for c in new]


def _reasons(bound: BoundNet, layer: str, threads: int, accuracy: str, restrict: Any,
             profile: Profile) -> Callable[[Candidate], str]:
    """Why candidates of a layer were not measured, in words, after what a profile knows."""
    known = {m.key: m for m in profile}
    slots = slots_of(bound, threads, accuracy, restrict, known)
    prospects = Prospects({id(s): s for s in slots}.values(), Assigner(bound, slots, Adapts(threads, known)).exchange)
    slot = slots[next(i for i, x in enumerate(bound.flat.layers) if x.name == layer)]

    def why(c: Candidate) -> str:
        entry = slot.find(c)
        return prospects.why(slot, entry) if entry is not None else "not measured"
    return why


def _estimate(e: Explanation, flat: Flat, index: int, threads: int, accuracy: str) -> None:
    """What candidates of this build are expected to take on this machine."""
    from ..profiling.protocol import this_host
    from ..runtime.estimated import estimator_of
    try:
        if e.host != this_host().id:
            return
        found = flat.candidates(index, threads, accuracy=accuracy, include_reference=True)[0]
        estimator = estimator_of(flat.bound, threads)
    except (DeviceError, NoRoutineError):
        return
    prices = {c.key: estimator.price(c) for c in found}
    for row in e.candidates:
        row.estimated_ns = prices.get((row.routine, row.version, row.variant))


def _find(e: Explanation, routine: str, variant: str) -> Row | None:
    return next((r for r in e.candidates if (r.routine, r.variant) == (routine, variant)), None)


def _mark(e: Explanation, route: Route, solved: bool) -> None:
    region = next((name for name, members in route.regions.items() if e.layer in members), None)
    choice = route.layers[region or e.layer]
    variant = choice.variant if region is None else str(Variant.parse(choice.variant).for_region(region))
    e.chosen = _find(e, choice.routine, variant)
    if region is not None:
        e.notes.append(f"computed together with {', '.join(repr(m) for m in route.regions[region] if m != e.layer)}; "
                       f"prices of routines for {region!r} are for all of these layers")
    if e.chosen is None:
        e.notes.append(f"the route's {choice.routine} {choice.variant} is neither measured nor in this build")
    else:
        e.chosen.chosen = True
    if not solved:
        e.notes.append("the route is not the one that the profile makes the fastest now; tune again to use newer measurements")


def _add_margin(e: Explanation, costs: Costs, route: Route, solved: bool) -> None:
    """The runner-up and its margin; for a route that is not the solver's, what exchanging this layer would cost."""
    from ..solvers import contract, evaluate, margins
    choice = costs.choice_of(route)
    if isinstance(choice, str):
        e.notes.append(f"no margin: {route.layers[choice].routine} of layer {choice!r} was not measured")
        return
    priced = evaluate.evaluate(costs.instance, choice)
    solution = contract.Solution(choice, priced.conversions, priced.cost, 0.0, "gap", 1.0, "")
    found = margins(costs.instance, solution)
    other, extra = found[e.layer]
    e.exact = found.exact
    if other is None:
        e.notes.append("no other candidate fits into a route")
        return
    e.margin_ns = extra
    e.runner_up = _find(e, other.routine, other.variant) if other.routine != MEMBER else \
        next((r for r in e.candidates if stands_for(other.variant, Variant.parse(r.variant).region)), None)
    if e.runner_up is not None:
        e.runner_up.runner_up = True


def _conversions(route: Route, index: int, costs: Costs) -> list[dict[str, Any]]:
    """Conversions of the values that the layer reads and makes."""
    flat = costs.bound.flat
    layer = flat.layers[index]
    values = dict.fromkeys(flat.reads(layer), "input") | dict.fromkeys(layer.outputs, "output")
    found = []
    for c in route.conversions:
        if c.value in values:
            p = costs.adapts.get(c.value, {}).get((c.source, c.target))
            found.append({"value": c.value, "of": values[c.value], "from": str(c.source), "to": str(c.target),
                          "routine": c.routine, "variant": c.variant, "cost_ns": c.predicted_ns,
                          "problem": adapt_problem(flat.spec(c.value), c.source, c.target, costs.threads).text,
                          "source": _source(p.measurement) if p else "not measured"})
    return found
