"""Exact choice of one routine per layer. One method per file, found by being there; `solve` picks the method."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from time import monotonic

from ..errors import SolverError
from ..folder import instances
from .contract import Candidate, Excluded, Instance, LayerChoices, Margins, Solution, Solver, check, restrict

__all__ = ["Candidate", "Instance", "LayerChoices", "Margins", "Solution", "k_best", "margins", "solve", "solvers"]

#: Entries of the largest table that elimination may use (16 bytes each).
MAX_TABLE = 1 << 21


@cache
def solvers() -> tuple[Solver, ...]:
    """Every method, in the order in which `solve` asks them; collected from the files of this folder."""
    return tuple(sorted(instances(__name__, Solver, "solver").values(), key=lambda s: (s.rank, s.name)))


def solve(instance: Instance, *, time_limit_s: float = 10.0, max_table: int = MAX_TABLE,
          exclude: Collection[Excluded] = ()) -> Solution:
    """The cheapest route: one candidate per layer, conversions included, with a certificate.

    Costs keep the unit of the instance. Ties: candidates with the same ports whose costs differ by no more than the
    spread of the cheapest of them are tied: less memory, then the name decides. Whole routes of equal cost (to about 15
    digits): fewer conversions, then less memory in total, then the names of their formats decide (of routes that
    elimination finds; the MILP only promises the cost). Independent of the order of candidates and dicts.
    `time_limit_s` bounds the methods that do not end by themselves. Raises SolverError naming the layer or value and
    the formats that clash when no route exists.
    """
    deadline = monotonic() + time_limit_s
    instance = restrict(instance, exclude)
    check(instance)
    for method in solvers():
        solution = method.solve(instance, deadline - monotonic(), max_table)
        if solution is not None:
            return solution
    raise SolverError("no solver can take this graph: it is too wide for every method of pathweave.solvers")


def margins(instance: Instance, solution: Solution, *, max_table: int = MAX_TABLE,
            exclude: Collection[Excluded] = ()) -> Margins:
    """Per layer the runner-up and what the best whole route that uses it costs more than the solution.

    Exact where elimination is affordable, and then computed in two passes for all layers together; else local (see
    Margins). The runner-up is None, its extra cost infinite, where no other candidate fits into any route. The extra
    cost is negative, within the spread, where a tie was decided by memory or name.
    """
    from .elimination import exact_margins
    from .local import local_margins
    instance = restrict(instance, exclude)
    check(instance)
    exact = exact_margins(instance, solution.choice, max_table)
    return local_margins(instance, solution.choice) if exact is None else exact


def k_best(instance: Instance, k: int, *, time_limit_s: float = 10.0, max_table: int = MAX_TABLE) -> list[Solution]:
    """The k cheapest distinct routes, cheapest first; fewer where fewer exist. See ranking.py for what is exact."""
    from .ranking import ranked
    check(instance)
    return ranked(instance, k, time_limit_s, max_table)
