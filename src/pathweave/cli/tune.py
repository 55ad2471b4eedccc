"""pathweave tune: measure what is missing, solve, race, keep the winner."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Error, ModelFileError
from ..net.objective import LATENCY
from ..words import counted
from ._calibration import Calibrate, calibrate_with
from ._errors import BadUse
from ._options import (
    Accuracy,
    Batch,
    Budget,
    Json,
    Layouts,
    MaxPixels,
    ModelPath,
    NarrowDouble,
    Objective,
    Routine,
    Sessions,
    Shapes,
    Threads,
    aim_of,
    check_accuracy,
    load_bound,
    restriction,
    writable_target,
)
from ._output import print_json, print_tables, progress

ORDER = 40
#: A call of more than OUTSIDE times its steps, and UNPREDICTED times its prediction, spends most of its time outside of them.
OUTSIDE, UNPREDICTED = 2.0, 1.5


def command(
    model: ModelPath,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="OUT.pw", show_default=False,
                                            help="Write the model with its route here; default: MODEL's name with the "
                                                 "ending .pw, in the current folder.")] = None,
    no_save: Annotated[bool, typer.Option("--no-save", help="Write no file; what was measured is kept in the store.")] = False,
    packed: Annotated[bool, typer.Option("--packed", help="Write packed weights too: a larger file that starts faster on "
                                         "this machine.")] = False,
    accuracy: Accuracy = "f32",
    calibrate: Calibrate = None,
    threads: Threads = None,
    objective: Objective = LATENCY,
    sessions: Sessions = None,
    budget: Budget = 30.0,
    shape: Shapes = None,
    batch: Batch = None,
    layout: Layouts = None,
    routine: Routine = None,
    narrow_double: NarrowDouble = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Find the fastest route of a model on this machine, and show what it was chosen from.

    First table: the route. Times are predicted from the measurements of each step, and measured in steps. The total
    is the sum of the steps; the prediction below adds what a call takes around them. Margin: by how much the best
    whole route with the runner-up was predicted to be slower; below 0 the race chose otherwise. Variant:
    micro-kernel, /what the routine varies, +1thread where one thread computes it.

    Second table: the race of whole routes. Column `prediction`: + where a route ran faster than predicted, - where
    slower. With --objective throughput all times are those of one session beside the others, and one session with all
    threads runs in the race too, to compare with.
    """
    from ..report.routes import route_json, route_table
    from ..report.timing import Load, load_average, time_steps
    from ..runtime.inputs import random_inputs
    from ..runtime.routes import plan_route
    from ..tuning.api import tune_bound
    check_accuracy(accuracy)
    out = _target(model, out, no_save, packed)
    loaded, bound = load_bound(model, threads, shape, batch, narrow_double, layout)
    aim = aim_of(loaded, objective, sessions, threads)
    calibrate_with(loaded, calibrate, max_pixels)
    shapes, load_before = bound.shapes, load_average()
    bound = loaded.bind(shapes) if calibrate else bound
    with progress("tuning") as report:
        tuned = tune_bound(loaded, bound, accuracy=accuracy, threads=aim.team, budget_s=budget, shapes=shapes,
                           restrict=restriction(routine), progress=report, objective=aim.objective, sessions=aim.sessions)
    load = Load(load_before, load_average())
    if out is not None:
        _save(tuned, out, packed)
    plan = plan_route(route := tuned.runnable().route_of(bound), bound, route.threads)
    steps = time_steps(plan.session(), random_inputs(plan.bound), at_least=3, sessions=aim.at_once)
    if json:
        print_json({"model": model, "file": out, "route": route_json(plan, steps, route.measured_ns), "report": tuned.report,
                    "load": vars(load), "notes": tuned.notes})
        return
    print_tables(route_table(plan, steps, route.measured_ns, _title(model, shapes, plan.threads, aim)), "",
                 *_told(tuned.report, plan, float(steps.sum()), load), *tuned.notes,
                 f"{out}: written" if out else "no file was written; the same command with -o OUT.pw writes one quickly")


def _target(model: str, out: str | None, no_save: bool, packed: bool) -> str | None:
    """The file to write; None for none. Raises BadUse."""
    if no_save and (out or packed):
        raise BadUse(f"--no-save writes no file; leave out {'--out' if out else '--packed'}, or --no-save")
    out = None if no_save else out or _default_target(model)
    writable_target(out, "model")
    return out


def _told(facts: dict[str, Any], plan: Any, steps_ns: float, load: Any) -> list[Any]:
    """The race, the machine during it, and the findings."""
    from ..runtime.native import native
    from ..tuning.findings import left_out
    many = facts.get("throughput")
    outside = [] if many else outside_of_steps(facts["measured_ns"], steps_ns, facts["predicted_ns"], load, plan.threads,
                                               native().usable_processors())
    return [_race(facts), *([_throughput(many)] if many else []), _speed(facts), *outside,
            f"{_seconds(facts['seconds'])}; {load}", *([left] if (left := left_out(facts["profile"])) else []),
            *(f"finding: {f}" for f in facts["findings"])]


def _save(tuned: Any, out: str, packed: bool) -> None:
    """Write the tuned model, without packed weights where there is no way to have them: a warning says so."""
    try:
        tuned.save(out, packed)
    except ModelFileError:
        raise
    except Error as e:
        if not packed:
            raise
        tuned.save(out)
        warnings.warn(f"{out} was written without packed weights: {e}", stacklevel=2)


def _default_target(model: str) -> str:
    """Where the tuned model goes when nobody says it. Raises BadUse where that would replace another file."""
    target = f"{Path(model).stem or 'model'}.pw"
    if Path(target).exists():
        raise BadUse(f"{target} exists; say where the tuned model goes: -o {target} replaces it, --no-save writes nothing")
    return target


def _title(model: str, shapes: Mapping[str, Sequence[int]], threads: int, aim: Any) -> str:
    sizes = ', '.join(f'{n} ' + 'x'.join(map(str, s)) for n, s in shapes.items())
    many = f", beside {counted(aim.sessions - 1, 'other session')}" if aim.throughput else ""
    return f"{model}   {sizes}   {counted(threads, 'thread')}{many}"


def _race(facts: dict[str, Any]) -> Any:
    from ..report.tables import Column, Table, show_percent, time_column
    many = "throughput" in facts
    times = [Column("calls_per_second", "calls/s", lambda x: f"{x:.1f}", True), time_column("latency_ns", "latency")] if many \
        else [time_column("median_ns", "median"), time_column("minimum_ns", "minimum", fold=1)]
    rows = [{**r, "names": ", ".join(r["names"]), "state": _state(r),
             "emphasis": "bold" if r["kept"] else None,
             "gap": r["predicted_ns"] / r["reference_ns"] - 1 if r["predicted_ns"] and r["reference_ns"] else None}
            for r in sorted(facts["race"], key=lambda r: r["reference_ns"])]
    return Table([Column("names", "route"), time_column("predicted_ns", "predicted"),
                  time_column("reference_ns", "at equal speed"), Column("gap", "prediction", show_percent, True),
                  *times, Column("runs", "runs", right=True, fold=2), Column("state", "")], rows,
                 "the race, interleaved, end to end", [
                      "predicted, at equal speed: what a call takes when the machine runs at its reference speed, which is the "
                      "speed of its fastest runs so far (docs/prediction.md)",
                      "prediction: + where a route ran faster than predicted, - where it ran slower",
                      *(["calls/s: of all sessions together, latency: of one call of one of them, by the clock: medians of "
                         "windows in which all run; at equal speed: a processor's time per call"] if many else
                        ["median, minimum: of whole calls, by the clock: as they took at the speed that the machine had"]),
                      "kept: the route of the model now; dropped: too slow for more rounds"])


def _state(row: dict[str, Any]) -> str:
    if row.get("beside"):
        return "to compare with"
    return "kept" if row["kept"] else "" if row["finished"] else "dropped"


def _throughput(many: dict[str, Any]) -> str:
    """Calls per second and latency of what was tuned, and of one session with all threads."""
    from ..report.tables import show_time
    lines = [f"{counted(many['sessions'], 'session')} of {counted(many['threads'], 'thread')}: {many['calls_per_second']:.1f} "
             f"calls per second, {show_time(many['latency_ns'])} per call"]
    lines += [f"{b['name']}: {b['calls_per_second']:.1f} calls per second, {show_time(b['latency_ns'])} per call"
              for b in many["beside"]]
    return "\n".join(lines)


def _speed(facts: dict[str, Any]) -> str:
    """How far the machine was from its reference, and what that makes of the prediction."""
    from ..report.tables import show_difference
    speeds = facts["speed"]
    if speeds["reference_ns"] is None:
        return "the speed of the machine is not known: times are as the clock told them"
    race, profile = speeds["race"], speeds["profile"]
    ran = f"during the race the machine ran at {race['median']:.2f} of its reference speed"
    if race["interrupted"] >= 0.01:
        ran += f", and other processes took {100 * race['interrupted']:.0f} % of the time"
    if profile:
        ran += f"; while profiling at {profile['median']:.2f} ({profile['slowest']:.2f} to {profile['fastest']:.2f})"
    if facts["gap"] is None:
        return ran
    return (f"{ran}\npredicted {show_difference(facts['gap'])} than measured at equal speed, "
            f"{show_difference(facts['gap_raw'])} than measured by the clock")


def outside_of_steps(whole_ns: float, steps_ns: float, predicted_ns: float | None, load: Any, threads: int,
                     processors: int) -> list[str]:
    """A sentence where most of a call's time lies outside of its steps, and the call was not predicted to be so long."""
    from ..report.tables import show_time
    if whole_ns < OUTSIDE * steps_ns or whole_ns < UNPREDICTED * (predicted_ns or 0.0):
        return []
    why = "what takes it is not known"
    if load.crowds(threads, processors):
        why = (f"other processes hold the processors, and its threads wait for them (load average {load.after} on "
               f"{counted(processors, 'processor')})")
    return [f"{show_time(whole_ns - steps_ns)} of the {show_time(whole_ns)} of a call lie outside of its steps: {why}; tune "
            "again when nothing else runs"]


def _seconds(seconds: dict[str, float]) -> str:
    parts = ", ".join(f"{phase} {s:.1f}" for phase, s in seconds.items() if phase != "total" and s >= 0.05)
    return f"tuned in {seconds['total']:.1f} s" + (f" ({parts})" if parts else "")
