"""Exact solver: eliminate the variables one by one, each into a table over its neighbours.

Non-serial dynamic programming:
Bertelè and Brioschi 1972; for routine selection: Hilaga et al. 2021, arXiv 2110.06037. Min-marginals by a pass back
over the same tables (Lauritzen and Spiegelhalter 1988, Hugin form).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import SolverError
from .contract import Candidate, Instance, Margins, Solution, Solver, same_routine
from .encode import EncodedLayer, Encoding, TooWide
from .evaluate import evaluate
from .explain import why_infeasible
from .order import Order, find_order

#: All tables together may have this many times `max_table` entries.
TOTAL = 16
#: Joint tables with more entries keep only the best state of the eliminated variable.
KEEP = 1 << 16
#: Min-marginals keep all tables; beyond this many entries together they are not computed.
MARGINS = 1 << 25

Table = tuple[tuple[int, ...], np.ndarray]


class Bucket(NamedTuple):
    """What remains of an eliminated variable: the scope of its table (the variable first), the table or its argmin."""

    scope: tuple[int, ...]
    joint: np.ndarray | None
    best: np.ndarray | None


class Prepared:
    """An instance encoded and ordered, its tables computed once for both the solution and the margins."""

    def __init__(self, instance: Instance, encoding: Encoding, order: Order):
        self.instance = instance
        self.encoding = encoding
        self.order = order
        self.position = [0] * len(encoding.sizes)
        for i, x in enumerate(order.variables):
            self.position[x] = i
        self.tables = encoding.tables(self.position)

    def states(self) -> tuple[float, list[int] | None]:
        """Least price in integer units, and the state of each variable; None where no route exists."""
        return minimise(self.order.variables, self.tables, len(self.encoding.sizes))

    def solution(self, max_table: int) -> Solution:
        """The cheapest route. Raises SolverError when there is none."""
        value, states = self.states()
        if states is None:
            raise SolverError(why_infeasible(self.instance, lambda part: _feasible(part, max_table)))
        choice = self.encoding.decode(states)
        priced = evaluate(self.instance, choice)
        drift = abs(priced.cost * self.encoding.scale - value)
        assert drift <= 1e-9 * abs(value) + len(self.tables), "the tables and the independent price disagree"
        stats = {"variables": len(self.encoding.sizes), "tables": len(self.tables), "largest_table": self.order.largest,
                 "entries": self.order.total}
        return Solution(choice, priced.conversions, priced.cost, priced.cost, "optimal", 0.0, Elimination.name, stats)

    def margins(self, choice: dict[str, Candidate]) -> Margins:
        """Runner-up of every layer and what the best whole route with it costs more."""
        marginals = _min_marginals(self)
        margins = Margins()
        for layer, encoded in zip(self.instance.layers, self.encoding.layers):
            extras = marginals[layer.name]
            chosen = choice[layer.name]
            base = _extra(chosen, encoded, extras)
            rated = [(_extra(c, encoded, extras) - base, c.memory, c.routine, c.variant, c.ins, c.outs, c)
                     for c in layer.candidates if not same_routine(c, chosen)]
            best = min(rated, key=lambda r: r[:6], default=None)
            margins[layer.name] = (None, float("inf")) if best is None or best[0] == np.inf else (best[6], best[0])
        return margins


def prepare(instance: Instance, max_table: int, max_entries: int | None = None) -> Prepared | None:
    """Tables of an instance; None when the largest, or all together, would have too many entries."""
    try:
        encoding = Encoding(instance)
    except TooWide:
        return None
    order = find_order(encoding.sizes, encoding.scopes, max_table)
    if order is None or order.total > (TOTAL * max_table if max_entries is None else max_entries):
        return None
    return Prepared(instance, encoding, order)


class Elimination(Solver):
    """Exact by variable elimination, where the graph is narrow enough."""

    name = "elimination"
    rank = 10

    def solve(self, instance: Instance, time_limit_s: float, max_table: int) -> Solution | None:
        """See Solver. The work is bounded by `max_table`, so that the time limit is not looked at."""
        prepared = prepare(instance, max_table)
        return None if prepared is None else prepared.solution(max_table)


def _feasible(instance: Instance, max_table: int) -> bool | None:
    """Whether any route exists; None when that is not affordable to know."""
    prepared = prepare(instance, max_table)
    return None if prepared is None else prepared.states()[1] is not None


def _sum(scope: Sequence[int], tables: list[Table]) -> np.ndarray:
    """Sum of tables, each broadcast to a scope that contains its own, in the same order of variables."""
    total: Any = None
    for own, table in tables:
        if len(own) != len(scope):
            sizes = iter(table.shape)
            table = table.reshape([next(sizes) if x in own else 1 for x in scope])
        total = table if total is None else total + table
    return total


def _distribute(variables: Sequence[int], tables: list[Table],
                count: int) -> tuple[list[list[Table]], list[np.ndarray], list[int]]:
    """(tables of each variable: those whose first variable it is), constants, position of each variable."""
    position = [0] * count
    for i, x in enumerate(variables):
        position[x] = i
    buckets: list[list[Table]] = [[] for _ in range(count)]
    constants = []
    for scope, table in tables:
        if scope:
            buckets[scope[0]].append((scope, table))
        else:
            constants.append(table)
    return buckets, constants, position


def _joint(x: int, bucket: list[Table], position: list[int]) -> tuple[tuple[int, ...], np.ndarray]:
    """Scope (x first, then by position) and sum of the tables of a bucket."""
    if len(bucket) == 1:
        return bucket[0]
    scope = max((own for own, _ in bucket), key=len)
    if any(y not in scope for own, _ in bucket for y in own):
        scope = tuple(sorted({y for own, _ in bucket for y in own}, key=position.__getitem__))
    return scope, _sum(scope, bucket)


def minimise(variables: Sequence[int], tables: list[Table], count: int) -> tuple[float, list[int] | None]:
    """Least sum of the tables (scopes sorted by elimination position), and the states; None where it is infinite.

    Among equal sums the first state of the variable eliminated last decides, then of the one before it, and so on.
    """
    buckets, constants, position = _distribute(variables, tables, count)
    total = sum((complex(c) for c in constants), 0j)
    left: list[Bucket] = []
    for x in variables:
        if not buckets[x]:   # in no table: any state will do
            left.append(Bucket((x,), np.zeros(1), None))
            continue
        scope, joint = _joint(x, buckets[x], position)
        buckets[x] = []
        least = joint.min(axis=0)
        if len(scope) == 1:
            total += complex(least)
        else:
            buckets[scope[1]].append((scope[1:], least))
        if joint.size <= KEEP:
            left.append(Bucket(scope, joint, None))
        else:
            left.append(Bucket(scope, None, joint.argmin(axis=0).astype(np.int32)))
    if not np.isfinite(total.real):
        return total.real, None
    states = [0] * count
    for scope, joint, best in reversed(left):
        rest = tuple([states[y] for y in scope[1:]])
        states[scope[0]] = int(best[rest]) if joint is None else int(joint[(slice(None),) + rest].argmin())
    return total.real, states


def _min_marginals(prepared: Prepared) -> dict[str, dict[tuple[str, ...], float]]:
    """Layer -> {formats of its active ports: extra cost of the best whole route with them}, in units of cost."""
    encoding, position = prepared.encoding, prepared.position
    tables = [(scope, table.real) for scope, table in prepared.tables]
    beliefs = _calibrate(prepared.order.variables, tables, len(encoding.sizes))
    found = {}
    for layer, encoded in zip(prepared.instance.layers, encoding.layers):
        own = (encoded.var,) if encoded.var is not None else encoded.ports
        table = None
        if own:
            scope, belief = beliefs[min(own, key=position.__getitem__)]
            keep = sorted(own, key=position.__getitem__)
            table = belief.min(axis=tuple([i for i, x in enumerate(scope) if x not in keep]))
            table = (table - table.min()).transpose([keep.index(x) for x in own])
        prices = encoding.option_prices(layer.name, encoded, table)
        found[layer.name] = {key: extra / encoding.scale for key, extra in prices.items()}
    return found


def _calibrate(variables: Sequence[int], tables: list[Table], count: int) -> dict[int, Table]:
    """Per variable: scope of its table, and per entry the least sum of all tables of its component with that entry."""
    buckets, _, position = _distribute(variables, tables, count)
    beliefs: dict[int, Table] = {}
    messages: dict[int, np.ndarray] = {}
    for x in variables:
        if not buckets[x]:
            continue
        scope, joint = beliefs[x] = _joint(x, buckets[x], position)
        buckets[x] = []
        if len(scope) > 1:
            messages[x] = joint.min(axis=0)
            buckets[scope[1]].append((scope[1:], messages[x]))
    for x in reversed(variables):
        if x not in messages:
            continue
        scope, joint = beliefs[x]
        above, belief = beliefs[scope[1]]
        outer = tuple([i for i, y in enumerate(above) if y not in scope])
        if outer:
            belief = belief.min(axis=outer)
        # An entry that is infinite here stays so; its difference would be inf - inf.
        with np.errstate(invalid="ignore"):
            rest = np.where(np.isfinite(messages[x]), belief - messages[x], 0.0)
        beliefs[x] = scope, joint + rest
    return beliefs


def exact_margins(instance: Instance, choice: dict[str, Candidate], max_table: int) -> Margins | None:
    """Runner-up of every layer and what the best whole route with it costs more; None where not affordable."""
    prepared = prepare(instance, max_table, MARGINS)
    return None if prepared is None else prepared.margins(choice)


def _extra(c: Candidate, encoded: EncodedLayer, extras: dict[tuple[str, ...], float]) -> float:
    """Extra cost of the best whole route with a candidate, over the best route."""
    ports = c.ins + c.outs
    key = tuple([ports[i] for i in encoded.active])
    return extras[key] + (c.cost - encoded.options[key].cost)
