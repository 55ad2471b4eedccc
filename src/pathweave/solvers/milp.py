"""Solver for graphs that are too wide for elimination: search, a dual bound, and HiGHS on what the bound leaves open.

1. Local search finds a route. 2. Dual ascent finds a lower bound, and for each candidate a bound on the routes that
use it: candidates that cannot beat the known route are struck out. 3. What is left may be narrow enough for
elimination; else it goes to HiGHS (https://highs.dev) with the known route as its start, if the programme is of a size
that HiGHS can treat in the time. The answer is the best route with the best bound of all steps.

Equal instances give equal answers as long as no step is cut off by the time limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from ..errors import SolverError
from .arrays import MAX_FORMATS, Arrays
from .contract import Candidate, Instance, Solution, Solver, relative_gap
from .dominance import representatives
from .dual import Dual, ascend
from .elimination import Elimination
from .evaluate import evaluate
from .explain import why_infeasible
from .local import State, search
from .milp_model import Model

SWEEPS = 30
KICKS = 30
#: Entries of the largest table when elimination is tried on what the bound leaves open.
MAX_TABLE = 1 << 20
#: Matrices with more entries are not handed to HiGHS: their first relaxation alone takes longer than the limit.
MAX_ENTRIES = 150_000
#: Bounds from floating-point sums are lowered by this share before they are stated.
SAFETY = 1e-10


class Known(NamedTuple):
    """Best choice so far and its price (infinite before there is one), best lower bound so far."""

    cost: float
    choice: dict[str, Candidate] | None
    bound: float


class Milp(Solver):
    """Local search, dual bound, mixed-integer programme: any graph, an answer in time, with a stated gap."""

    name = "milp"
    rank = 90

    def solve(self, instance: Instance, time_limit_s: float, max_table: int) -> Solution:
        """See Solver; never declines."""
        deadline = monotonic() + time_limit_s
        stats: dict = {}
        floor = sum(min(c.cost for c in layer.candidates) for layer in instance.layers)
        known, open_part = bounded(instance, Known(np.inf, None, floor), deadline, time_limit_s, stats)
        if not closed(known):
            if open_part is not instance and deadline - monotonic() > 0.25 * time_limit_s:
                known = self._eliminate(open_part, known, max_table, stats)
            if not closed(known):
                known = mixed_integer(open_part, known, deadline, stats)
        if known.choice is None:
            raise SolverError(f"no route found within {time_limit_s:.3g} s, and none excluded; raise the time limit, "
                              "measure more adapts or restrict the candidates to fewer formats")
        return stated(instance, known, self.name, stats)

    @staticmethod
    def _eliminate(open_part: Instance, known: Known, max_table: int, stats: dict) -> Known:
        solution = Elimination().solve(open_part, 0.0, min(max_table, MAX_TABLE))
        if solution is None:
            return known
        stats["closed_by"] = Elimination.name
        return Known(solution.cost, solution.choice, solution.cost)


def closed(known: Known) -> bool:
    """Whether the known route is proved optimal."""
    return known.choice is not None and known.bound >= known.cost * (1 - 1e-9)


def stated(instance: Instance, known: Known, method: str, stats: dict) -> Solution:
    """The solution with its independently computed price and its certificate."""
    assert known.choice is not None
    priced = evaluate(instance, known.choice)
    bound = min(known.bound, priced.cost)
    if closed(known):
        return Solution(known.choice, priced.conversions, priced.cost, bound, "optimal", 0.0, method, stats)
    gap = relative_gap(priced.cost, bound)
    return Solution(known.choice, priced.conversions, priced.cost, bound, "gap", gap, method, stats)


def _better(instance: Instance, known: Known, choice: dict[str, Candidate]) -> Known:
    try:
        cost = evaluate(instance, choice).cost
    except SolverError:
        return known
    return known._replace(cost=cost, choice=choice) if cost < known.cost else known


def bounded(instance: Instance, known: Known, deadline: float, limit: float, stats: dict) -> tuple[Known, Instance]:
    """Search and dual bound; also the instance without the candidates that the bound rules out."""
    arrays = Arrays(instance)
    if arrays.trees is None:   # too many formats per value for tables of sets: search among the most common ones
        arrays = Arrays(_common_formats(instance))
        if arrays.trees is not None:
            _, picks = search(arrays, [], KICKS, 0.0, lambda: monotonic() > deadline - 0.5 * limit)
            known = _better(instance, known, arrays.choice(picks))
        return known, instance

    def expired(share: float) -> Callable[[], bool]:
        return lambda: monotonic() > deadline - (1 - share) * limit

    cost, picks = search(arrays, [], 0, known.bound, expired(0.2))
    dual = Dual(arrays)
    ascend(dual, SWEEPS, cost * (1 - SAFETY), expired(0.4))
    cost, picks = search(arrays, [picks, dual.picks()], KICKS, dual.bound(), expired(0.48))
    if cost < arrays.big / 2:
        known = known._replace(cost=cost, choice=arrays.choice(picks))
    bound = dual.bound()
    bound -= SAFETY * abs(bound)
    known = known._replace(bound=max(known.bound, bound))
    stats["dual_bound"] = bound
    return known, _without_hopeless(instance, arrays, dual, known, bound, stats)


def _without_hopeless(instance: Instance, arrays: Arrays, dual: Dual, known: Known, bound: float, stats: dict) -> Instance:
    if known.choice is None:
        return instance
    layers, struck = [], 0
    slack = known.cost - bound + 1e-9 * abs(known.cost)
    for i, (layer, own) in enumerate(zip(instance.layers, arrays.layers)):
        extra = dual.bounds(i)
        keep = [c for c, e in zip(own.candidates, extra) if e <= slack or c == known.choice[layer.name]]
        struck += len(own.candidates) - len(keep)
        layers.append(replace(layer, candidates=keep))
    stats["struck_out"] = struck
    return replace(instance, layers=layers) if struck else instance


def _common_formats(instance: Instance) -> Instance:
    """Only candidates that use the most common formats, all candidates where a layer would be left without one."""
    count = Counter(f for layer in instance.layers for ins, outs in representatives(layer.candidates)
                    for f in {*ins, *outs})
    ends = set(instance.inputs.values()) | set(instance.outputs.values())
    ranked = sorted(count, key=lambda f: (f not in ends, -count[f], f))
    common = set(ranked[:MAX_FORMATS])
    layers = []
    for layer in instance.layers:
        kept = [c for c in layer.candidates if common.issuperset(c.ins + c.outs)]
        layers.append(replace(layer, candidates=kept or layer.candidates))
    return replace(instance, layers=layers)


def mixed_integer(instance: Instance, known: Known, deadline: float, stats: dict) -> Known:
    """HiGHS on an instance, started from the known route; the known answer where it is too large or time is up."""
    entries = Model.entries(instance)
    remaining = deadline - monotonic()
    stats["matrix_entries"] = entries
    if remaining < 1.0 or entries > MAX_ENTRIES and known.choice is not None:
        return known
    import highspy
    model = Model(instance)
    unit = max(max(model.cost, default=0.0), 1e-300) / 1000.0
    highs = highspy.Highs()
    for option, value in (("output_flag", False), ("threads", 1), ("random_seed", 0), ("mip_rel_gap", 1e-10),
                          ("mip_abs_gap", 1e-9), ("time_limit", max(0.1, 0.7 * (deadline - monotonic()) - 0.3))):
        highs.setOptionValue(option, value)
    highs.passModel(_highs_model(highspy, model, unit))
    if known.choice is not None:
        start = highspy.HighsSolution()
        start.col_value = model.start(known.choice, evaluate(instance, known.choice).conversions).tolist()
        highs.setSolution(start)
    highs.run()
    status, info = highs.getModelStatus(), highs.getInfo()
    stats["highs"] = highs.modelStatusToString(status)
    if status == highspy.HighsModelStatus.kInfeasible and known.choice is None:
        raise SolverError(why_infeasible(instance, lambda part: None))
    best = known
    if info.primal_solution_status == 2:
        best = _better(instance, known, _polished(instance, model.choice(highs.getSolution().col_value)))
    if np.isfinite(info.mip_dual_bound):
        # Struck-out candidates cost more than the route known then, so that its price bounds them.
        bound = min(info.mip_dual_bound * unit, known.cost, best.cost)
        bound -= 1e-9 * abs(bound)
        best = best._replace(bound=max(best.bound, bound))
    if status == highspy.HighsModelStatus.kOptimal and best.bound >= best.cost * (1 - 1e-6):
        best = best._replace(bound=best.cost)   # HiGHS proves up to its tolerance of 1e-6
    return best


def _polished(instance: Instance, choice: dict[str, Candidate]) -> dict[str, Candidate]:
    """Coordinate descent from a choice, where tables of sets are possible."""
    arrays = Arrays(instance)
    if arrays.trees is None:
        return choice
    state = State(arrays, arrays.picks(choice))
    state.descend()
    return arrays.choice(state.picks)


def _highs_model(highspy: Any, model: Model, unit: float) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.cost), len(model.row_lower)
    lp.col_cost_ = np.array(model.cost) / unit
    lp.col_lower_, lp.col_upper_ = np.array(model.lower), np.array(model.upper)
    lp.row_lower_, lp.row_upper_ = np.array(model.row_lower), np.array(model.row_upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array(model.starts, np.int32)
    lp.a_matrix_.index_ = np.array(model.index, np.int32)
    lp.a_matrix_.value_ = np.array(model.value)
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[i] for i in model.integer]
    return lp
