"""The k best routes: exact where elimination is affordable, else the best route and what single exchanges make of it.

Exact: the set of all routes is split around the routes found so far. Min-marginals name the second best route of a
part (the cheapest (layer, candidate) that its best does not use); splitting the part into "with it" and "without it"
gives two parts whose best routes are known. Two passes of min-marginals per route (Yanover and Weiss 2003, best
max-marginal first). Every candidate counts, also those with the same ports. The first route is that of `solve`, ties
resolved by the spread; the others are ranked by cost alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count

from ..errors import SolverError
from .contract import Candidate, Instance, Solution, relative_gap
from .elimination import Elimination, Prepared, prepare
from .evaluate import evaluate
from .local import local_margins


def ranked(instance: Instance, k: int, time_limit_s: float, max_table: int) -> list[Solution]:
    """See `k_best` of the package."""
    from . import solve
    if k < 1:
        return []
    first = solve(instance, time_limit_s=time_limit_s, max_table=max_table)
    if first.method != Elimination.name:
        return [first, *_exchanges(instance, first, k - 1)]
    found = [first]
    others = _exact(_without_spread(instance), max_table)
    while len(found) < k and (route := next(others, None)) is not None:
        if route.choice != _plain(first.choice):
            found.append(route)
    return [first, *(_with_spread(instance, route) for route in found[1:])]


def _without_spread(instance: Instance) -> Instance:
    layers = [replace(x, candidates=[c._replace(spread=0.0) for c in x.candidates]) for x in instance.layers]
    return replace(instance, layers=layers)


def _plain(choice: dict[str, Candidate]) -> dict[str, Candidate]:
    return {name: c._replace(spread=0.0) for name, c in choice.items()}


def _with_spread(instance: Instance, solution: Solution) -> Solution:
    """The solution in terms of the instance's own candidates."""
    choice = {}
    for layer in instance.layers:
        plain = solution.choice[layer.name]
        choice[layer.name] = next(c for c in layer.candidates if c._replace(spread=0.0) == plain)
    return replace(solution, choice=choice)


def _exact(instance: Instance, max_table: int) -> Iterator[Solution]:
    """All routes, cheapest first. No candidate has a spread. Where a part turns out too wide, its routes are left out."""
    parts: list[tuple[float, int, Solution, str, Candidate, Instance]] = []   # by price of the second best route
    ticket = count()

    def add(prepared: Prepared | None, best: Solution) -> None:
        if prepared is None:
            return
        margins = prepared.margins(best.choice)
        options = [(extra, i, name, c) for i, (name, (c, extra)) in enumerate(margins.items()) if c is not None]
        if options:
            extra, _, name, c = min(options, key=lambda o: o[:2])
            heappush(parts, (best.cost + extra, next(ticket), best, name, c, prepared.instance))

    prepared = prepare(instance, max_table)
    if prepared is None:
        return
    best = prepared.solution(max_table)
    yield best
    add(prepared, best)
    while parts:
        _, _, best, name, chosen, part = heappop(parts)
        prepared = prepare(_with(part, name, [chosen]), max_table)
        if prepared is not None:
            second = prepared.solution(max_table)
            yield second
            add(prepared, second)
        kept = [c for x in part.layers if x.name == name for c in x.candidates if c != chosen]
        add(prepare(_with(part, name, kept), max_table), best)


def _with(instance: Instance, name: str, candidates: list[Candidate]) -> Instance:
    """The instance with other candidates for one layer."""
    return replace(instance, layers=[replace(x, candidates=candidates) if x.name == name else x
                                     for x in instance.layers])


def _exchanges(instance: Instance, first: Solution, k: int) -> list[Solution]:
    """Each layer's winner exchanged for its runner-up in turn, cheapest first."""
    margins = local_margins(instance, first.choice)
    found: list[Solution] = []
    for _, name, c in sorted((extra, name, c) for name, (c, extra) in margins.items() if c is not None):
        if len(found) >= k:
            break
        choice = {**first.choice, name: c}
        try:
            priced = evaluate(instance, choice)
        except SolverError:
            continue
        found.append(Solution(choice, priced.conversions, priced.cost, first.lower_bound, "gap",
                              relative_gap(priced.cost, first.lower_bound), "exchange"))
    return found
