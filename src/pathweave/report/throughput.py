"""Engines compared by calls per second: as many callers as there are sessions call at the same time, in windows.

Engines take turns, in an order drawn anew for each round; before each turn the threads of the one before have gone to sleep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from ..net.accuracy import common_class
from ..net.objective import Aim
from ..profiling.load import Crew, Places, counted_calls, ns_of_turn
from ..runtime.inputs import as_declared
from ..words import counted
from .agreement import Agreement, compare, least_accurate, worst
from .bench import SEED
from .peers import Declined, Peer, Task, prepared_many
from .routes import origin_of
from .tables import Column, Table, show_error, time_column
from .timing import Load, settle

if TYPE_CHECKING:
    from ..net.route import Route
    from ..runtime.bound import BoundNet
    from ..runtime.model import LoadedModel


@dataclass
class Callers:
    """One engine of a comparison. `calls`: one per caller, empty where it is out (`reason`). `outputs`: what a call gives, in
    the declared order. `per_second`: calls of all callers, a number per window. `latencies`: ns, the median of each window."""

    name: str
    calls: Sequence[Callable[[], Any]] = ()
    outputs: Callable[[], Sequence[Any]] | None = None
    reason: str = ""
    accuracy: str = "f32"
    version: str = ""
    threads: int = 1
    agreement: Agreement | None = None
    per_second: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    _ns: float | None = None

    def window(self, crew: Crew) -> None:
        """Add a window."""
        found = counted_calls(crew, self.calls, self._ns)
        self._ns = ns_of_turn(found, len(self.calls))
        self.per_second.append(found.per_second)
        self.latencies.append(float(median(found.latencies)))


def ours(name: str, loaded: LoadedModel, bound: BoundNet, route: Route, inputs: Mapping[str, Any], callers: int,
         threads: int) -> Callers:
    """A route of ours, through a session per caller over one plan. `inputs`: as a call takes them."""
    plan = loaded.plan(route, bound.shapes, threads)
    places = Places().of(callers, inputs, {})
    calls = [partial(plan.session().run, own) for own, _ in places]
    return Callers(name, calls, lambda: list(as_declared(bound, calls[0]()).values()), threads=threads,
                   accuracy=common_class(least_accurate(plan)), version=origin_of(plan))


def peer(found: Peer, task: Task, callers: int) -> Callers:
    """A peer, or the reason why it is out."""
    entry = Callers(found.name, reason=found.missing(), accuracy=found.accuracy, version=found.version())
    if not entry.reason:
        try:
            entry.calls = prepared_many(found, task, callers)
            entry.outputs = entry.calls[0]
        except Declined as e:
            entry.reason = str(e)
    return entry


def check(entries: Sequence[Callers]) -> None:
    """Fill every engine's agreement with the first one that runs."""
    import numpy as np
    wanted: list[Any] | None = None
    for entry in entries:
        if entry.outputs is None:
            continue
        found = [np.array(y) for y in entry.outputs()]
        wanted = wanted or found
        entry.agreement = worst(map(compare, found, wanted)) if len(found) == len(wanted) else \
            Agreement(float("inf"), float("inf"))


def measure(entries: Sequence[Callers], rounds: int, tell: Callable[[float, str], None] = lambda share, what: None) -> None:
    """A window of every engine that runs in each round."""
    running, order = [e for e in entries if e.calls], random.Random(SEED)
    with Crew() as crew:
        for i in range(rounds):
            order.shuffle(running)
            for entry in running:
                tell(i / rounds, f"round {i + 1} of {rounds}: {entry.name}")
                settle()
                entry.window(crew)
        settle()


def report(entries: Sequence[Callers], facts: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The result as plain data. `ratio`: calls per second over those of the first engine, by medians; `ratio_best`: by the best
    windows."""
    first = next((e for e in entries if e.per_second), None)
    rows = []
    for e in entries:
        row: dict[str, Any] = {"engine": e.name, "accuracy": e.accuracy, "version": e.version, "reason": e.reason,
                               "callers": len(e.calls), "threads": e.threads}
        if e.per_second and first is not None:
            row.update({"calls_per_second": median(e.per_second), "best_calls_per_second": max(e.per_second),
                        "latency_ns": median(e.latencies), "windows": len(e.per_second),
                        "ratio": median(e.per_second) / median(first.per_second),
                        "ratio_best": max(e.per_second) / max(first.per_second)})
        if e.agreement:
            row["difference"] = e.agreement.largest
        rows.append(row)
    return {"host": dict(facts), "run": dict(run), "engines": rows}


def table(result: Mapping[str, Any], aim: Aim) -> Table:
    """The report as a table, most calls per second first."""
    run, host = result["run"], result["host"]
    rows = sorted(result["engines"], key=lambda r: -r.get("calls_per_second", 0.0))
    rows = [{**r, "emphasis": "dim" if r["reason"] else None} for r in rows]

    def number(x: Any) -> str:
        return "" if x is None else f"{x:.1f}"

    def ratio(x: Any) -> str:
        return "" if x is None else f"{x:.2f}"
    columns = [Column("engine", "engine"), Column("version", "version", fold=3), Column("callers", "callers", right=True),
               Column("threads", "threads", right=True, fold=2), Column("calls_per_second", "calls/s", number, True),
               Column("best_calls_per_second", "best", number, True, fold=1), time_column("latency_ns", "latency"),
               Column("ratio", "ratio", ratio, True), Column("ratio_best", "ratio best", ratio, True, fold=1),
               Column("difference", "difference", show_error, True), Column("reason", "not run because")]
    shapes = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in run["shapes"].items())
    return Table(columns, rows, f"{run['model']}   {shapes}   {counted(aim.sessions, 'session')}", [
        f"{counted(run['rounds'], 'round')}, a window of every engine in each: callers call at the same time; calls/s of all "
        f"of them, latency of one call: medians of the windows; ratio: calls/s over those of {run['first']}; threads: per call",
        f"{host['cpu']}, {counted(host['usable_processors'], 'processor')}, tiers {' '.join(host['tiers'])}"
        + (f" (cap {host['cap']})" if host["cap"] else "") + f"; {Load(host['load_before'], host['load_after'])}"])
