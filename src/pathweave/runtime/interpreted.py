"""Which layers of a route run through NumPy instead of a native routine, and what share of the time they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import kinds
from ..net.route import Route
from .builder import CONTROL
from .catalogue import PYTHON, candidates, is_python

if TYPE_CHECKING:
    from .bound import BoundNet
    from .plan import Plan


@dataclass(frozen=True)
class Interpreted:
    """`layers`: (name, kind) of those that run through NumPy, conversions as kind `adapt`; `of`: how many there are in all.
    `share`: of the time; None where a time is not known."""

    layers: tuple[tuple[str, str], ...]
    of: int
    share: float | None

    def __str__(self) -> str:
        if not self.layers:
            return "no layer runs through NumPy"
        kinds = Counter(kind for _, kind in self.layers)
        listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        text = f"{len(self.layers)} of {self.of} layers and conversions run through NumPy ({listed})"
        return text if self.share is None else f"{text}: {100 * self.share:.0f} % of the time"

    def to_json(self) -> dict[str, Any]:
        return {"count": len(self.layers), "of": self.of, "share": self.share,
                "layers": [{"layer": name, "kind": kind} for name, kind in self.layers]}


def interpreted(rows: Iterable[tuple[str, str, str, float | None]]) -> Interpreted:
    """From (layer, kind, routine id, nanoseconds or None) of everything that a route runs."""
    known = list(rows)
    found = [(name, kind, ns) for name, kind, routine, ns in known
             if routine.rsplit(":", 1)[-1] == PYTHON and not (kind in kinds() and kinds()[kind].refuses)]
    times = [ns for *_, ns in known]
    total = None if any(ns is None for ns in times) else sum(ns for ns in times if ns is not None)
    share = sum(ns or 0.0 for *_, ns in found) / total if total else None
    return Interpreted(tuple((name, kind) for name, kind, _ in found), len(known), share)


def reasons(found: Interpreted, bound: BoundNet, threads: int) -> list[str]:
    """Why layers run through NumPy: a line per kind and reason, with the layers that it is true of."""
    lines: dict[tuple[str, str], list[str]] = {}
    for place in bound.flat.places:
        name, kind = place.layer.name, place.layer.kind
        if (name, kind) not in found.layers:
            continue
        possible, refusals = candidates(place.net.problems(threads)[place.index])
        declined: dict[str, str] = {}  # reason -> the first algorithm that gives it
        for r in refusals:
            if r.routine.startswith(f"{kind}/"):
                declined.setdefault(r.reason, r.routine.partition(":")[0])
        why = "the contents of an input decide on its sizes" if any(not is_python(c) for c in possible) else \
            "; ".join(f"{algorithm}: {reason}" for reason, algorithm in declined.items()) or "there is no native routine for it"
        lines.setdefault((kind, why), []).append(name)
    return [f"{kind} ({', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}): {why}"
            for (kind, why), names in lines.items()]


def of_plan(plan: Plan, steps_ns: np.ndarray | None = None) -> Interpreted:
    """Of a plan's steps; `steps_ns`: measured nanoseconds of each, else the prices of the plan's route."""
    if steps_ns is None and plan.route is not None:
        return of_route(plan.route, plan.bound)
    rows: list[tuple[str, str, str, float | None]] = []
    own: dict[str, list[float | None]] = {}
    for i, step in enumerate(plan.steps):
        ns = None if steps_ns is None else float(steps_ns[i])
        if step.routine == CONTROL:
            own.setdefault(step.layer, []).append(ns)
        elif step.part and rows and rows[-1][0] == step.layer:  # a step of its epilogue
            name, kind, routine, before = rows[-1]
            rows[-1] = name, kind, routine, None if ns is None or before is None else before + ns
        elif step.value:
            rows.append((step.value, step.layer, step.routine, ns))
        else:
            rows.append((step.layer, plan.bound.flat.place[step.layer].layer.kind, step.routine, ns))
    for name, times in own.items():
        rows.append((name, plan.bound.flat.place[name].layer.kind, plan.choices[name].routine,
                     None if None in times else sum(t for t in times if t is not None)))
    return interpreted(rows)


def of_route(route: Route, bound: BoundNet) -> Interpreted:
    """Of a route's layers and conversions at their predicted times."""
    kinds = {layer.name: layer.kind for layer in (*bound.base.flat.layers, *bound.flat.layers)}
    rows = [(name, kinds.get(name, "region"), c.routine, c.predicted_ns) for name, c in route.layers.items()]
    rows += [(c.value, "adapt", c.routine, c.predicted_ns) for c in route.conversions]
    return interpreted(rows)
