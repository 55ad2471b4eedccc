"""The route as a table: layers and conversions in the order of running, predicted against measured, runner-up and margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..net.objective import THROUGHPUT
from ..net.route import Route
from ..runtime.interpreted import of_plan
from ..runtime.overlap import sentence
from ..words import counted
from .blocks import RUNS, Blocks, is_control
from .tables import Column, Table, show_difference, show_time, time_column

if TYPE_CHECKING:
    from ..runtime.plan import Plan

_COLUMNS = (Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind"), Column("routine", "routine"),
            Column("variant", "variant", fold=2), Column("formats", "formats", fold=3),
            time_column("predicted_ns", "predicted"), time_column("measured_ns", "measured"),
            Column("runner_up", "runner-up", fold=4), time_column("margin_ns", "margin", fold=5))


def origin_of(plan: Plan) -> str:
    """What a plan's route is, in words; see `runtime.routes.origin`."""
    from ..profiling.protocol import this_host
    from ..runtime.routes import origin
    return origin(plan.route, plan.signature, plan.threads, this_host().id)


def route_table(plan: Plan, steps_ns: np.ndarray | None = None, end_to_end_ns: float | None = None,
                title: str = "") -> Table:
    """Table of a plan's route.

    `steps_ns`: measured time per step of the plan. `end_to_end_ns`: measured time of a whole run. A layer whose epilogue
    runs in steps of its own is one row; conversions are rows of kind `adapt` at the place where they run.
    """
    route: Route | None = plan.route
    rows = _rows(plan, route, steps_ns)
    apart = ("block", "copy") if plan.bound.flat.blocks else ()  # what a block is filled with belongs to the call
    predicted = [r["predicted_ns"] for r in rows if r["kind"] not in apart]
    measured = None if steps_ns is None else float(np.sum(steps_ns))
    conversions = [r for r in rows if r["kind"] == "adapt"]
    rows.append({"index": None, "layer": "total", "kind": counted(len(conversions), "conversion"), "routine": "", "variant": "",
                 "formats": "", "predicted_ns": sum(predicted) if all(p is not None for p in predicted) else None,
                 "measured_ns": measured, "runner_up": None, "margin_ns": None, "emphasis": "bold"})
    columns = (*_COLUMNS[:4], RUNS, *_COLUMNS[4:]) if plan.bound.flat.blocks else _COLUMNS
    return Table(columns, rows, title, [*_notes(route, rows, measured, end_to_end_ns), str(of_plan(plan, steps_ns)),
                                         *_legend(rows)])


def _rows(plan: Plan, route: Route | None, steps_ns: np.ndarray | None) -> list[dict[str, Any]]:
    chosen = route.layers if route else {}
    paid = {(c.value, c.source, c.target): c.predicted_ns for c in (route.conversions if route else ())}
    rows: list[dict[str, Any]] = []
    flat, own = plan.bound.flat, dict[str, dict[str, Any]]()
    blocks = Blocks(flat, route.notes.get("counts") if route else None)
    for i, step in enumerate(plan.steps):
        ns = None if steps_ns is None else float(steps_ns[i])
        if is_control(step) and step.layer in own:
            if ns is not None:
                own[step.layer]["measured_ns"] += ns
            continue
        if step.part and rows and rows[-1]["layer"] == step.layer:
            if ns is not None:
                rows[-1]["measured_ns"] += ns
            continue
        choice = chosen.get(step.layer)
        adapt = step.layer in ("adapt", "copy")
        block = blocks.block(step)
        if (heading := blocks.heading(block)) is not None:
            rows.append({"index": None, "kind": "block", "routine": "", "variant": "", "formats": "", "predicted_ns": None,
                         "measured_ns": None, "runner_up": None, "margin_ns": None, "emphasis": "dim", **heading})
        runner = None if adapt or choice is None else choice.runner_up
        rows.append({
            "index": None if adapt or block else plan.bound.index[step.layer],
            "layer": f"  {step.value}" if adapt else step.layer,
            "kind": step.layer if adapt else flat.place[step.layer].layer.kind,
            "routine": plan.choices[step.layer].routine if is_control(step) else step.routine,
            "variant": "" if is_control(step) else step.variant,
            "formats": _formats(step.ins, step.outs),
            "predicted_ns": paid.get((flat.origin(step.value), step.ins[0], step.outs[0])) if adapt and step.ins else
            choice.predicted_ns if choice and not adapt else None,
            "measured_ns": ns,
            "runner_up": f"{runner['routine']} {runner.get('variant', '')}".strip() if runner else None,
            "margin_ns": None if adapt or choice is None else choice.margin_ns,
            **({"emphasis": "dim"} if adapt else {})})
        if flat.blocks:
            rows[-1] |= {"name": rows[-1]["layer"].strip(), "runs": blocks.runs(block)}
            rows[-1]["layer"] = blocks.shown(rows[-1]["layer"], block) if not adapt else \
                "  " + blocks.shown(rows[-1]["name"], block)
        if is_control(step):
            own[step.layer] = rows[-1]
    return rows


def _formats(ins: tuple, outs: tuple) -> str:
    """`nhwc > nchw16c`, one word per distinct format; the element type and device only where they are not f32 on the CPU."""
    def side(formats: tuple) -> str:
        words = dict.fromkeys(f.layout if (f.dtype, f.device) == ("f32", "cpu") else str(f) for f in formats)
        return ",".join(words)
    left, right = side(ins), side(outs)
    return left if left == right else f"{left} > {right}"


def aim_text(route: Route | None) -> str:
    """What a route is for, where that is throughput: `for throughput of 4 sessions: 812.5 calls per second, ...`."""
    if route is None or route.objective != THROUGHPUT:
        return ""
    facts = route.notes.get("throughput")
    text = f"for throughput of {counted(route.sessions, 'session')} at the same time"
    if not isinstance(facts, dict) or not {"calls_per_second", "latency_ns"} <= facts.keys():
        return text
    return f"{text}: {facts['calls_per_second']:.1f} calls per second, {show_time(facts['latency_ns'])} per call"


def _notes(route: Route | None, rows: list[dict[str, Any]], measured: float | None, end_to_end: float | None) -> list[str]:
    """Sentences on the whole route; the last row is the total."""
    aim = aim_text(route)
    return [*([aim] if aim else []), *_times(route, rows, measured, end_to_end)]


def _times(route: Route | None, rows: list[dict[str, Any]], measured: float | None, end_to_end: float | None) -> list[str]:
    notes, conversions, steps = [], [r for r in rows if r["kind"] == "adapt"], rows[-1]["predicted_ns"]
    if route is not None and route.predicted_ns is not None:
        proved = route.certificate == "optimal" or route.lower_bound_ns is None
        bound = "" if proved else f", lower bound {show_time(route.lower_bound_ns)}"
        parts = "" if steps is None else \
            f": {show_time(steps)} of the steps, {show_time(route.predicted_ns - steps)} of the call around them"
        notes.append(f"predicted {show_time(route.predicted_ns)}{parts} ({route.certificate or 'no certificate'}{bound}; "
                     f"solver {route.solver or 'none'})")
    elif route is not None and isinstance(route.notes.get("estimated_ns"), (int, float)):
        expected = show_time(route.notes["estimated_ns"])
        notes.append(f"route: {route.certificate or 'none'}, estimated {expected} of the steps, by what routines say they do "
                     "and the machine's rates; nothing was measured")
    elif route is not None:
        notes.append(f"route: {route.certificate or 'none'}, no predicted times")
    if end_to_end is not None:
        line = f"measured {show_time(end_to_end)} end to end"
        if measured is not None:
            line += f", {show_time(measured)} in the steps, timed one by one"
        if route is not None and route.predicted_ns:
            line += f"; predicted {show_difference(route.predicted_ns / end_to_end - 1)} than measured by the clock"
        notes.append(line)
    if route is not None and isinstance(route.notes.get("overlap"), dict):
        notes.append(sentence(route.notes["overlap"], show_time))
    if conversions and all(c["measured_ns"] is not None for c in conversions):
        takes = "takes" if len(conversions) == 1 else "take"
        notes.append(f"{counted(len(conversions), 'conversion')} {takes} "
                     f"{show_time(sum(c['measured_ns'] for c in conversions))}")
    return notes


def _legend(rows: list[dict[str, Any]]) -> list[str]:
    """What the columns mean that do not say it themselves, as far as they are there."""
    notes = []
    if any(r["kind"] == "block" for r in rows):
        notes.append("runs: how often a block is expected to run in a call, as the profile counted it (a branch that it never "
                     "saw counts with a weight); times are those of all runs in a call")
    if any(r["variant"] for r in rows):
        notes.append("variant: micro-kernel with its tile and instruction set, /what the routine varies, +1thread: one thread "
                     "computes it")
    margins = [r["margin_ns"] for r in rows if r["margin_ns"] is not None]
    if margins:
        notes.append("margin: by how much the best whole route with the runner-up was predicted to be slower"
                     + ("; below 0 it was predicted to be faster; the race chose this one" if min(margins) < 0 else ""))
    return notes


def route_json(plan: Plan, steps_ns: np.ndarray | None = None, end_to_end_ns: float | None = None) -> dict[str, Any]:
    """The same as plain data, with the route's totals."""
    route, table = plan.route, route_table(plan, steps_ns, end_to_end_ns)
    facts = {k: getattr(route, k, None) for k in ("signature", "threads", "accuracy", "predicted_ns", "lower_bound_ns",
                                                  "certificate", "solver", "host", "measured_ns", "notes", "regions",
                                                  "objective", "sessions")}
    rows = [{**r, "layer": r.pop("name", r["layer"]).strip()} for r in table.to_json()[:-1]]
    return {**facts, "origin": origin_of(plan), "end_to_end_ns": end_to_end_ns, "steps": rows,
            "numpy": of_plan(plan, steps_ns).to_json()}
