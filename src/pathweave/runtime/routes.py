"""Routes applied: from the names in a route to the candidates of this build, on this machine, at these shapes."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, RouteError, ShapeError
from ..net.accuracy import accuracy_rank
from ..net.net import Net
from ..net.problem import Problem
from ..net.route import Choice, Conversion, Route, noted
from ..words import counted
from . import catalogue
from .bound import BoundNet
from .catalogue import Candidate, Restrict
from .conversions import conversions_for
from .defaults import choice_of, completed_choices
from .plan import Plan, build_plan
from .prepare import KernelCache


class RouteWarning(UserWarning):
    """A route could not be followed to the letter: a routine is not available here, and the default took its place."""


@dataclass
class Applied:
    """A route as it runs here. `bound`: the net with the route's regions fused. `route`: the adjusted route,
    `route.notes` says what was replaced and why."""

    bound: BoundNet
    route: Route
    choices: dict[str, Candidate]
    conversions: list[Conversion]
    replaced: list[dict[str, str]] = field(default_factory=list)


def choices_of(route: Route, bound: BoundNet, threads: int | None = None, restrict: Restrict | None = None) -> Applied:
    """The candidates that a route names, for a bound net.

    A route for another signature (other shapes, or layouts at the border) is carried over by layer name and routine id where
    the routine accepts the new problem; other layers get the default. `threads` None: the route's. A routine that this machine
    or build lacks is replaced by the default with a RouteWarning; nothing fails for that. A region that cannot be computed as a
    whole is left to its layers. Raises NoRoutineError only when the default has no routine either.
    """
    threads = route.threads if threads is None else threads
    carried = route.signature != bound.signature
    bound = bound.fused(_regions(route, bound, threads))
    fixed, replaced = {}, []
    for net, layer, problem in ((n, *entry) for n in bound.everything() for entry in zip(n.layers, n.problems(threads))):
        choice = route.layers.get(layer.name)
        found = _candidate(choice, problem, route.accuracy) if choice else _absence(route, layer.name)
        if isinstance(found, Candidate):
            found = net.uncalibrated(layer, found) or found
        if isinstance(found, str):
            replaced.append({"layer": layer.name, "routine": choice.routine if choice else "", "reason": found})
        else:
            fixed[layer.name] = found
    choices = fixed
    if replaced:
        choices = completed_choices(bound, threads, route.accuracy, restrict, fixed)
        for note in replaced:
            note["used"] = choices[note["layer"]].routine
        _warn(replaced, carried)
    conversions = conversions_for(bound, choices, threads, _usable(route, bound))
    changed = [n for n, c in choices.items() if n in route.layers and
               c.key != (route.layers[n].routine, route.layers[n].version, route.layers[n].variant)]
    exact = not (replaced or changed or carried or threads != route.threads)
    if not exact:
        route = _adjusted(route, bound, choices, conversions, threads, replaced)
    return Applied(bound, route, choices, conversions, replaced)


def check_of_net(where: str, route: Route, net: Net, bind: Callable[[Any], BoundNet], bound: BoundNet | None = None) -> None:
    """Raise RouteError for a route of another net: it covers no layer of this one, or names layers that it does not have.

    `bind`: binds the net to shapes. `bound`: the net where the route is to run; None: anywhere. Which layers there are may
    depend on the shapes: those of the shapes that the route was made for count too.
    """
    own = _names(bound) if bound is not None else _names_before(net)
    named, covered = route.layers.keys() - route.regions.keys(), route.covered()
    if named <= own and (covered & own or not own):
        return
    known = own | _names_before(net)
    if not (named and named <= known) and route.shapes is not None:
        with contextlib.suppress(InputError, ShapeError):  # it may be a route of another net
            there = _names(bind(route.shapes))
            known |= there
            own = own if bound is not None else there
    unknown = sorted(named - known)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise RouteError(f"{where}: the route names {counted(len(unknown), 'layer')} that this model does not have: "
                         f"{', '.join(map(repr, unknown[:5]))}{more}; give a route of this model, such as "
                         f"pathweave.tune(model).route()")
    if own and not covered & own:
        raise RouteError(f"{where}: the route covers none of the {counted(len(own), 'layer')} of this model"
                         f"{' at these shapes' if bound is not None else ''}; tune it, or leave the route out")


def _names(bound: BoundNet) -> set[str]:
    return {layer.name for layer in bound.all_layers()}


def _names_before(net: Net, prefix: str = "") -> set[str]:
    """Names of the layers of a net that is not bound, and of all blocks in it."""
    found = {prefix + layer.name for layer in net.layers}
    return found.union(*(_names_before(block.net, f"{prefix}{layer.name}/{name}/")
                         for layer in net.layers for name, block in layer.blocks.items()))


def _regions(route: Route, bound: BoundNet, threads: int) -> list[str]:
    """The regions of a route that this net has, and that a routine computes here."""
    return [name for name, members in route.regions.items() if name in bound.regions and
            bound.regions[name].layers == members and
            bound.region_candidates(bound.regions[name], threads, route.accuracy)]


def _absence(route: Route, layer: str) -> str:
    """Why a route says nothing about a layer."""
    region = next((name for name, members in route.regions.items() if layer in members), None)
    return "the route has no such layer" if region is None else \
        f"the route computes it as part of {region!r}, which no routine does here"


def _candidate(choice: Choice, problem: Problem, accuracy: str) -> Candidate | str:
    """The candidate that a route's entry names, or why it cannot be used."""
    found = catalogue.find(problem, choice.routine, choice.variant)
    if not isinstance(found, Candidate):
        other = catalogue.find(problem, choice.routine)
        if not isinstance(other, Candidate):
            return found.reason
        found = other  # the same routine in its first variant: a machine may lack a micro-kernel
    if found.version != choice.version:
        return f"its version is {found.version} here, the route was made for {choice.version}"
    if accuracy_rank(found.accuracy) > accuracy_rank(accuracy):
        return f"its accuracy class {found.accuracy} is below the route's, {accuracy}"
    return found


def _usable(route: Route, bound: BoundNet) -> list[Conversion]:
    """Conversions of a route whose adapts exist here for these shapes."""
    from ..net.problem import adapt_problem
    usable = []
    for c in route.conversions:
        if bound.flat.knows(c.value):
            problem = adapt_problem(bound.flat.spec(c.value), c.source, c.target, route.threads)
            found = catalogue.find(problem, c.routine, c.variant)
            if isinstance(found, Candidate) and found.version == c.version:
                usable.append(c)
    return usable


def _adjusted(route: Route, bound: BoundNet, choices: dict[str, Candidate], conversions: list[Conversion], threads: int,
              replaced: list[dict[str, str]]) -> Route:
    """A route that says what runs, and what it was made from."""
    layers = {}
    for name in (layer.name for layer in bound.all_layers()):
        old, new = route.layers.get(name), choice_of(choices[name])
        same = old is not None and (old.routine, old.variant) == (new.routine, new.variant)
        layers[name] = dataclasses.replace(old, ins=new.ins, outs=new.outs) if same and old else new
    notes: dict[str, Any] = {**route.notes, **noted(bound.shapes), "replaced": replaced}
    if threads != route.threads:
        notes["carried_threads"] = route.threads
    if route.signature != bound.signature:
        notes["carried_from"] = route.signature
        for choice in layers.values():
            choice.predicted_ns = choice.margin_ns = choice.runner_up = None
    regions = {name: members for name, members in route.regions.items() if name in bound.index}
    return dataclasses.replace(route, signature=bound.signature, threads=threads, layers=layers, regions=regions,
                               conversions=conversions, predicted_ns=None, lower_bound_ns=None, measured_ns=None,
                               certificate="carried over", notes=notes)


def carried_from(route: Route, signature: str, threads: int, host: str) -> list[str]:
    """Where a route was tuned, as far as that is not where it runs: other shapes or layouts, threads, another processor; empty
    for one that was tuned for just this. `route`: as it was tuned, or as a plan has it. `host`: id of this fingerprint."""
    found = ["other shapes or layouts"] if route.signature != signature or "carried_from" in route.notes else []
    before = route.notes.get("carried_threads", route.threads)
    if before != threads:
        found.append(f"{counted(before, 'thread')}")
    if route.host and route.host != host:
        found.append("another processor")
    return found


def origin(route: Route | None, signature: str, threads: int, host: str) -> str:
    """What a route is, in words: "default route", "tuned route", or "carried over from 4 threads and another processor"."""
    if route is None or "default" in (route.certificate, route.solver):
        return "default route"
    found = carried_from(route, signature, threads, host)
    if not found and route.certificate != "carried over":
        return "tuned route"
    replaced = len(route.notes.get("replaced", ()))
    words = "carried over" + (f" from {' and '.join(found)}" if found else "")
    return words + (f", {replaced} of {counted(len(route.layers), 'layer')} by default" if replaced else "")


def _warn(replaced: list[dict[str, str]], carried: bool) -> None:
    """Tell about routines that are gone. That a routine declines another shape is no news: it stays a note."""
    known = [r for r in replaced if r["routine"]]
    if carried or not known:
        return
    listed = "; ".join(f"layer {r['layer']!r}: {r['routine']} ({r['reason']}), now {r['used']}" for r in known[:5])
    more = f"; and {len(known) - 5} more" if len(known) > 5 else ""
    warnings.warn(f"route: {len(known)} of its routines cannot be used here and the default took their place: "
                  f"{listed}{more}; tune again for this machine", RouteWarning, stacklevel=4)


def plan_route(route: Route, bound: BoundNet, threads: int | None = None, cache: KernelCache | None = None) -> Plan:
    """The plan of a route for a bound net; see `choices_of` and `plan.build_plan`."""
    applied = choices_of(route, bound, threads)
    return build_plan(applied.bound, applied.choices, applied.conversions, applied.route.threads, cache, applied.route)
