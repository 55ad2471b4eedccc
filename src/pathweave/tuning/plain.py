"""Plain routes: the best one in a single layout, and the best one of a single accuracy class.

They race beside the solver's best routes, so that a wrong price never makes the result slower than a simpler choice.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import SolverError
from ..net.accuracy import COMMON, common_class
from ..net.layouts import UNIFORM_LAYOUTS, alike
from ..net.route import Route
from ..solvers import solve
from .costs import Costs, Priced


def plain_routes(costs: Costs, time_limit_s: float = 10.0) -> Iterator[tuple[str, Route]]:
    """("nhwc only", its best route), ("quantised only", ...) for every layout and class that a candidate has."""
    yield from single_layout_routes(costs, time_limit_s)
    yield from single_class_routes(costs, time_limit_s)


def single_layout_routes(costs: Costs, time_limit_s: float = 10.0) -> Iterator[tuple[str, Route]]:
    """("nhwc only", the best route in that layout) for every layout that a candidate has."""
    present = {f.layout for p in _all(costs) for f in _ports(p)}
    for layout in UNIFORM_LAYOUTS:
        if layout in present:
            kept = {id(p) for p in _all(costs) if all(f.layout in alike(layout) for f in _ports(p))}
            yield from _best(costs, f"{layout} only", kept, time_limit_s)


def single_class_routes(costs: Costs, time_limit_s: float = 10.0) -> Iterator[tuple[str, Route]]:
    """("quantised only", the best route with a routine of that class in every layer that has one, and of class f32 in the
    others) for every class that a candidate has; nothing where all are of class f32."""
    present = {_class(p) for p in _all(costs)}
    for name in COMMON if len(present) > 1 else ():
        if name in present:
            kept = {id(p) for p in _all(costs) if _class(p) == name}
            for found in costs.layers.values():
                if not any(id(p) in kept for p in found):
                    kept |= {id(p) for p in found if _class(p) == "f32"}
            yield from _best(costs, f"{name} only", kept, time_limit_s)


def _best(costs: Costs, name: str, kept: set[int], time_limit_s: float) -> Iterator[tuple[str, Route]]:
    """The best route of the candidates in `kept`; of all candidates where a layer has none of them."""
    try:
        yield name, costs.route(solve(costs.restricted(lambda p: id(p) in kept), time_limit_s=time_limit_s))
    except SolverError:
        return


def _all(costs: Costs) -> Iterator[Priced]:
    for found in (*costs.layers.values(), *costs.fusion.priced.values()):
        yield from found


def _ports(p: Priced) -> tuple:
    return *p.candidate.ins, *p.candidate.outs


def _class(p: Priced) -> str:
    return common_class(p.candidate.accuracy)
