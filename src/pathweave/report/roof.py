"""The roof of every step of a plan: the least time that this machine's limits allow it, beside the time that it takes.

Roof: the larger of operations / peak rate of the unit that computes in the routine's element type, and of bytes / bandwidth
of the levels of memory that they come from. Source: Williams et al. 2009, "Roofline".

Where bytes come from is judged by how much else is touched between two uses. Weights, used once per run, come from the level
that holds all that a run touches: packed constants and arena. A value comes from the level that holds it together with what
was read and written since it was made or last read. Results go to the level that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..net.size import size_bytes
from ..runtime.interpreted import Interpreted, interpreted
from ..runtime.limits import LEVELS, Limits
from ..words import counted
from . import work
from .algorithms import own_operations
from .blocks import RUNS, is_control
from .routes import origin_of
from .tables import Column, Table, count_column, show_bytes, show_time, time_column
from .timing import Times

if TYPE_CHECKING:
    from ..runtime.plan import Plan, Step

#: Element type of a routine -> element type of the unit that multiplies, and its products per product of the layer.
_UNITS = {"bf16x2": ("bf16", 3), "bf16x3": ("bf16", 6), "u8": ("i8", 1), "s8": ("i8", 1), "qint8": ("i8", 1)}
#: Share of its roof below which a step wants an explanation.
LOW = 0.5
#: Median over minimum of whole calls from which the machine counts as busy.
BUSY = 1.3
ORDERS = ("net", "time", "share", "lost")


@dataclass
class Work:
    """What one row of the table does in a call. `bytes`: by level. `own`: operations of its algorithm where they differ.
    `runs`: how often it runs; `index` is None for what is no layer of the net itself."""

    layer: str
    kind: str
    index: int | None
    routine: str
    variant: str
    steps: list[int]
    dtype: str
    operations: int = 0
    own: int | None = None
    bytes: dict[str, int] = field(default_factory=dict)
    runs: float = 1.0


def works(plan: Plan, limits: Limits, counts: Sequence[int] | None = None) -> list[Work]:
    """Work of every layer and conversion of a plan, in the order of running; steps of an epilogue belong to their layer, and
    steps of a layer with blocks beside those of its blocks. `counts`: how often each step runs in a call; None: once."""
    rows: list[Work] = []
    own: dict[str, Work] = {}
    for i, step in enumerate(plan.steps):
        if is_control(step) and step.layer in own:
            own[step.layer].steps.append(i)
            continue
        if step.part and rows and rows[-1].layer == step.layer:
            rows[-1].steps.append(i)
            continue
        words = step.routine.split(":")
        if step.value:
            rows.append(Work(step.value, step.layer, None, step.routine, step.variant, [i], words[1]))
        else:
            rows.append(_layer_work(plan, step, i, words[1] if len(words) > 1 else "f32"))
        if is_control(step):
            own[step.layer] = rows[-1]
        elif counts is not None:
            rows[-1].runs = counts[i]
            rows[-1].operations *= counts[i]
            rows[-1].own = rows[-1].own and rows[-1].own * counts[i]
    _place(plan, rows, limits)
    return rows


def _layer_work(plan: Plan, step: Step, i: int, dtype: str) -> Work:
    place = plan.bound.flat.place[step.layer]
    net, layer, index = place.net.net, place.layer, None if place.block else place.index
    chosen = plan.choices[layer.name]
    if is_control(step):
        return Work(layer.name, layer.kind, index, chosen.routine, "", [i], dtype)
    return Work(layer.name, layer.kind, index, step.routine, step.variant, [i], dtype, work.operations(net, layer),
                own_operations(net, layer, chosen.algorithm, chosen.own_variant))


class _Uses:
    """Bytes that were touched, so that the distance between two uses of a value is known.

    Values share the arena: however many were touched in between, they take no more than its size.
    """

    def __init__(self, arena: int):
        self.arena = arena
        self.weights = self.values = 0
        self._last: dict[Any, tuple[int, int]] = {}

    def distance(self, value: Any, size: int) -> int | None:
        """Bytes from the last use of a value to the next, itself included; None where it was not used yet."""
        if value not in self._last:
            return None
        weights, values = self._last[value]
        return size + self.weights - weights + min(self.arena, self.values - values)

    def mark(self, value: Any) -> None:
        self._last[value] = (self.weights, self.values)


def _place(plan: Plan, rows: Sequence[Work], limits: Limits) -> None:
    """Fill `bytes` of all rows: one run to know what the last one left, and one that counts."""
    # Some routines read weights where they lie, others pack more than there were.
    everything = max(plan.packed_bytes, sum(_touched(plan, row)[2] for row in rows)) + plan.peak_bytes
    uses = _Uses(plan.peak_bytes)
    for counts in (False, True):
        for row in rows:
            reads, writes, constants = _touched(plan, row)
            found: dict[str, int] = {}

            def add(size: int, distance: int, found: dict[str, int] = found) -> None:
                if size:
                    level = limits.level(distance, plan.threads)
                    found[level] = found.get(level, 0) + size
            add(constants, everything)
            for value, size in reads:
                distance = uses.distance(value, size)
                add(size, everything if distance is None else min(distance, everything))
            for _, size in writes:
                add(size, size)
            found = {level: round(row.runs * size) for level, size in found.items()}
            uses.weights += constants
            uses.values += sum(size for _, size in (*reads, *writes))
            for value, _ in (*reads, *writes):
                uses.mark(value)
            if counts:
                row.bytes = {level: found[level] for level in LEVELS if level in found}


def _touched(plan: Plan, row: Work) -> tuple[list[tuple[Any, int]], list[tuple[Any, int]], int]:
    """((value, format), bytes) read and written, and bytes of constants read."""
    step, flat = plan.steps[row.steps[0]], plan.bound.flat
    if is_control(step):
        return [], [], 0
    if step.value:
        if not flat.knows(flat.origin(row.layer)):  # a constant that a step copies
            return [], [], 0
        spec = flat.spec(flat.origin(row.layer))
        return ([((row.layer, f), size_bytes(spec, f.dtype)) for f in step.ins],
                [((row.layer, f), size_bytes(spec, f.dtype)) for f in step.outs], 0)
    layer, chosen, bound = flat.place[row.layer].layer, plan.choices[row.layer], flat.place[row.layer].net
    if work.moves(layer.kind) and (chosen.reuse or chosen.share):
        return [], [], 0  # what it moves may lie where it belongs already
    reads = [((v, f), size_bytes(bound.spec(v), f.dtype)) for v, f in zip(bound.dynamic(layer), chosen.ins)]
    writes = [((v, f), size_bytes(bound.spec(v), f.dtype)) for v, f in zip(layer.outputs, chosen.outs)]
    held = {v for v in layer.inputs if v in bound.net.constants}
    specs = [bound.spec(v) for v in held]
    return reads, writes, sum(size_bytes(s, row.dtype if s.dtype == "f32" else None) for s in specs)


# ---- arithmetic -----------------------------------------------------------------------------------------------------

def compute_ns(operations: int, dtype: str, limits: Limits, threads: int) -> float:
    """Nanoseconds of operations at the peak of the unit for an element type; at f32's where no probe measures that."""
    unit, products = _UNITS.get(dtype, (dtype, 1))
    peak = limits.peak(unit, threads)
    if peak is None:
        peak, products = limits.peak("f32", threads), 1
    assert peak is not None
    return operations * products / peak * 1e9


def roof_rows(plan: Plan, samples: np.ndarray, limits: Limits, counts: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """One dict per row of the table. `samples`: nanoseconds, runs x steps of the plan. `counts`: how often each step ran."""
    threads, rows = plan.threads, []
    for w in works(plan, limits, counts):
        times = samples[:, w.steps].sum(axis=1)
        parts = {level: size / limits.bandwidth(level, threads) * 1e9 for level, size in w.bytes.items()}
        compute = compute_ns(w.operations, w.dtype, limits, threads)
        memory = sum(parts.values())
        minimum, median = float(times.min()), float(np.median(times))
        roof = max(compute, memory)
        own = None if w.own is None else max(compute_ns(w.own, w.dtype, limits, threads), memory)
        bound = "" if not roof else "compute" if compute >= memory else max(parts, key=lambda level: parts[level])
        rows.append({"index": w.index, "layer": w.layer, "kind": w.kind, "routine": w.routine, "variant": w.variant,
                     "minimum_ns": minimum, "median_ns": median, "operations": w.operations, "own_operations": w.own,
                     "bytes": sum(w.bytes.values()), "bytes_by_level": w.bytes, "bound": bound, "roof_ns": roof,
                     "own_roof_ns": own, **_shares(roof, own, minimum, limits.barrier_ns(threads)),
                     **({} if counts is None else {"runs": w.runs})})
    return rows


def _shares(roof: float, own: float | None, minimum: float, barrier: float) -> dict[str, float | None]:
    """Of the smallest time: the roof, the roof of the algorithm's own arithmetic, and the latter with a barrier."""
    if not roof or minimum <= 0:
        return {"share": None, "own_share": None, "share_with_barrier": None}
    best = roof if own is None else own
    return {"share": roof / minimum, "own_share": None if own is None else own / minimum,
            "share_with_barrier": (best + barrier) / minimum}


def totals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sums per layer kind, the longest first, and of the whole net in the last row."""
    def total(kind: str, group: Sequence[Mapping[str, Any]], net_ns: float) -> dict[str, Any]:
        sums = {k: sum(r[k] for r in group) for k in ("minimum_ns", "median_ns", "operations", "bytes", "roof_ns")}
        own = sum(r["roof_ns"] if r["own_roof_ns"] is None else r["own_roof_ns"] for r in group)
        differs = any(r["own_roof_ns"] is not None for r in group)
        least = sums["minimum_ns"]
        return {"kind": kind, "count": len(group), **sums, "own_roof_ns": own if differs else None,
                "share": sums["roof_ns"] / least if least and sums["roof_ns"] else None,
                "own_share": own / least if least and differs else None,
                "of_net": least / net_ns if net_ns else None}
    net_ns = sum(r["minimum_ns"] for r in rows)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for r in rows:
        groups.setdefault(r["kind"], []).append(r)
    found = [total(kind, group, net_ns) for kind, group in groups.items()]
    found.sort(key=lambda t: -t["minimum_ns"])
    return [*found, total("whole net", rows, net_ns)]


# ---- the report -----------------------------------------------------------------------------------------------------

def report(plan: Plan, samples: np.ndarray, limits: Limits, calls: Times, model: str,
           counts: Sequence[int] | None = None) -> dict[str, Any]:
    """The whole result as plain data. `samples`, `calls`: what `timing.step_samples` gave. `counts`: of the session."""
    rows = roof_rows(plan, samples, limits, counts)
    route = plan.route
    return {"model": model, "shapes": plan.bound.shapes, "threads": plan.threads, "runs": len(samples),
            "route": origin_of(plan).removesuffix(" route"),
            "accuracy": None if route is None else route.accuracy, "limits": limits.to_json(),
            "end_to_end": calls.to_json(),
            "steps": rows, "totals": totals(rows), "numpy": through_numpy(rows).to_json()}


def through_numpy(rows: Sequence[Mapping[str, Any]]) -> Interpreted:
    """The rows that run through NumPy, at their smallest times."""
    return interpreted((r["layer"], r["kind"], r["routine"], r["minimum_ns"]) for r in rows)


#: Steps that a summary lists.
WORST = 10


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the speed report keeps of `report`: shares of the whole net, and the steps that lose most time, ns."""
    steps, whole = result["steps"], result["totals"][-1]
    low = [r for r in steps if r["share"] is not None and r["share"] < LOW]
    judged = sum(r["share"] is not None for r in steps)
    end_to_end = result["end_to_end"]["minimum_ns"]
    worst = [{**{k: r[k] for k in ("layer", "kind", "routine", "variant", "minimum_ns", "roof_ns", "share", "own_share")},
              "lost_ns": r["minimum_ns"] - r["roof_ns"]} for r in ordered(steps, "lost")[:WORST]]
    return {"minimum_ns": end_to_end, "roof_ns": whole["roof_ns"], "share": whole["roof_ns"] / end_to_end,
            "own_share": None if whole["own_roof_ns"] is None else whole["own_roof_ns"] / end_to_end,
            "low": len(low), "judged": judged, "low_time": sum(r["minimum_ns"] for r in low) / whole["minimum_ns"],
            "worst": worst}


def ordered(rows: Sequence[Mapping[str, Any]], order: str) -> list[Mapping[str, Any]]:
    """Rows by `net` (as they run), `time` (longest first), `share` (lowest first), `lost` (most time above the roof)."""
    keys = {"net": lambda r: 0, "time": lambda r: -r["minimum_ns"],
            "share": lambda r: float("inf") if r["share"] is None else r["share"],
            "lost": lambda r: r["roof_ns"] - r["minimum_ns"]}
    return sorted(rows, key=keys[order])


def _percent(share: Any) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _levels(sizes: Any) -> str:
    return ", ".join(f"{level} {show_bytes(size)}" for level, size in (sizes or {}).items())


_STEP_COLUMNS = (Column("index", "#", right=True), Column("layer", "layer"), Column("routine", "routine"),
                 Column("variant", "variant", fold=5), time_column("minimum_ns", "minimum"),
                 time_column("median_ns", "median", fold=6), count_column("operations", "operations", fold=2),
                 Column("bytes_by_level", "bytes from", _levels, fold=4), Column("bound", "bound by", fold=1),
                 time_column("roof_ns", "roof"), Column("share", "share", _percent, True),
                 Column("own_share", "own", _percent, True, fold=3),
                 Column("share_with_barrier", "+ barrier", _percent, True, fold=7))
_TOTAL_COLUMNS = (Column("kind", "kind"), Column("count", "steps", right=True, fold=3), time_column("minimum_ns", "minimum"),
                  time_column("median_ns", "median", fold=4), count_column("operations", "operations", fold=1),
                  Column("bytes", "bytes", show_bytes, True, fold=2), time_column("roof_ns", "roof"),
                  Column("share", "share", _percent, True), Column("own_share", "own", _percent, True),
                  Column("of_net", "of the net", _percent, True))


def step_table(result: Mapping[str, Any], order: str = "net") -> Table:
    """One row per step; those below half of their roof are bold on terminals."""
    rows = [{**r, "emphasis": "bold" if (r["share"] or 1) < LOW else "dim" if r["kind"] in ("adapt", "copy") else None}
            for r in ordered(result["steps"], order)]
    shapes = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in result["shapes"].items())
    columns = (*_STEP_COLUMNS[:4], RUNS, *_STEP_COLUMNS[4:]) if any("runs" in r for r in rows) else _STEP_COLUMNS
    return Table(columns, rows, f"{result['model']}   {shapes}   {counted(result['threads'], 'thread')}   "
                 f"{result['route']}{' route' if result['route'] in ('default', 'tuned') else ''}   "
                 f"{result['runs']} timed runs")


def total_table(result: Mapping[str, Any]) -> Table:
    """Totals per kind, the whole net, and what the columns mean."""
    rows = [{**r, "emphasis": "bold" if r["kind"] == "whole net" else None} for r in result["totals"]]
    steps, whole, calls = result["steps"], result["totals"][-1], result["end_to_end"]
    low = [r for r in steps if r["share"] is not None and r["share"] < LOW]
    taken = sum(r["minimum_ns"] for r in low) / whole["minimum_ns"] if whole["minimum_ns"] else 0.0
    judged = sum(r["share"] is not None for r in steps)
    notes = [f"whole net: roofs {show_time(whole['roof_ns'])} / {show_time(calls['minimum_ns'])} measured end to end "
             f"(median {show_time(calls['median_ns'])}) = {_percent(whole['roof_ns'] / calls['minimum_ns'])}",
             f"below {_percent(LOW)} of their roof: {len(low)} of {judged} steps, {_percent(taken)} of the time",
             str(through_numpy(steps)),
             "roof: the larger of operations / peak rate of the unit and bytes / bandwidth of the level they come from; "
             "share: roof / minimum", "+ barrier: the same with the meeting of the threads that ends a step"]
    if calls["median_ns"] > BUSY * calls["minimum_ns"]:
        notes.append(f"the machine was busy: half of the calls took {calls['median_ns'] / calls['minimum_ns']:.1f} times the "
                     "fastest or more; steps of milliseconds suffer most: run again")
    if any(r["own_roof_ns"] is not None for r in steps):
        notes.append("an algorithm with fewer operations than its layer may exceed that roof, such as Winograd; own: the "
                     "share with its own arithmetic, transforms included")
    if any(r["share"] is not None and (r["share"] if r["own_share"] is None else r["own_share"]) > 1.1 for r in steps):
        notes.append("a step is faster than its roof: the limits were measured on a busy machine, or its data lay nearer than "
                     "judged; pathweave devices --again measures the limits again")
    return Table(_TOTAL_COLUMNS, rows, "", notes)
