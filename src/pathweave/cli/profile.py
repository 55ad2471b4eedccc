"""pathweave profile: measure every candidate of a model on this machine, in place; fills the store."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..net.objective import LATENCY
from ..words import counted
from ._options import (
    Accuracy,
    Budget,
    Json,
    Layouts,
    ModelPath,
    NarrowDouble,
    Objective,
    Routine,
    Sessions,
    Shapes,
    Threads,
    aim_of,
    check_accuracy,
    existing_file,
    load_bound,
    restriction,
    writable_target,
)
from ._output import print_json, print_tables, progress

ORDER = 30


def command(
    model: ModelPath,
    budget: Budget = 30.0,
    export: Annotated[str | None, typer.Option("--export", metavar="FILE", show_default=False, help=
                                               "Write what is known about this model as JSON Lines.")] = None,
    import_: Annotated[str | None, typer.Option("--import", metavar="FILE", show_default=False, help=
                                                "Take the measurements of such a file into the store first.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare each candidate with the layer's meaning before it is "
                                         "timed; wrong ones are left out.")] = False,
    threads: Threads = None,
    objective: Objective = LATENCY,
    sessions: Sessions = None,
    shape: Shapes = None,
    layout: Layouts = None,
    accuracy: Accuracy = "f32",
    routine: Routine = None,
    narrow_double: NarrowDouble = False,
    json: Json = False,
) -> None:
    """Measure the routines of every layer. What the store knows already is not measured again."""
    from ..profiling.protocol import profile_bound, this_host
    from ..profiling.store import Store
    from ..profiling.timed import MACHINE
    from ..runtime.calibrate import AT_RUN_TIME, uncalibrated_note, warn_uncalibrated
    check_accuracy(accuracy)
    writable_target(export, "export", "--export")
    if import_ is not None:
        existing_file(import_, "profile", "--import")
    loaded, bound = load_bound(model, threads, shape, narrow_double=narrow_double, layout=layout)
    aim = aim_of(loaded, objective, sessions, threads)
    allowed = restriction(routine)
    warn_uncalibrated(bound, accuracy, loaded.threads, 1)
    imported = None
    with Store.open() as store:
        if import_ is not None:
            imported = store.import_(import_)
        with progress("profiling") as report, MACHINE.under_load(aim.at_once) as timer:
            profile = profile_bound(bound, threads=aim.threads, budget_s=budget, accuracy=accuracy, restrict=allowed,
                                    store=store, progress=report, verify=verify, timer=timer, sessions=aim.at_once)
        hosts = store.hosts()
    if export is not None:
        profile.save(export)
    rows = _rows(bound, profile, aim.threads)
    if json:
        print_json({"model": model, "host": profile.host, "store": store.path, "threads": aim.threads,
                    "objective": aim.objective, "sessions": aim.sessions, "imported": imported,
                    "notes": profile.notes, "layers": rows})
        return
    from ..profiling.rounds import sizes_text
    sizes = sizes_text(profile.notes.get("sizes", {}))
    at_run_time = uncalibrated_note(bound, accuracy, loaded.threads) == AT_RUN_TIME
    notes = [_summary(profile.notes), *([sizes] if sizes else []), *_rounds(profile.notes),
             *([AT_RUN_TIME] if at_run_time else []),
             f"store: {store.path or 'in memory'}, host {profile.host}"]
    if imported is not None:
        notes.append(_imported(imported, str(import_), sum(h["measurements"] for n, h in hosts.items() if n != this_host().id)))
    if export is not None:
        notes.append(f"{export}: {counted(len(profile), 'entry', 'entries')} written")
    notes += [f"left out: {w['layer']}: {w['candidate']}: {w['reason']}" for w in profile.notes.get("wrong") or []]
    print_tables(_table(rows, notes))


def _imported(new: int, file: str, others: int) -> str:
    """What an import brought, and how many measurements of other machines the store holds."""
    return f"{new} new measurements from {file}" + \
        (f"; the store holds {others} of other machines, which are kept and not used here" if others else "")


def _rows(bound: Any, profile: Any, threads: int) -> list[dict[str, Any]]:
    """Per layer: how many candidates are measured, and the two fastest routines alone."""
    rows = []
    known: dict[str, list] = {}
    for m in profile:
        known.setdefault(m.problem, []).append(m)
    flat = bound.at_sizes({n: s["size"] for n, s in profile.notes.get("sizes", {}).items()}).flat
    for place, problem in zip(flat.places, flat.problems(threads)):
        layer = place.layer
        ranked = sorted(known.get(problem.text, []), key=lambda m: m.median)
        best = ranked[0] if ranked else None
        other = next((m for m in ranked if best and m.routine != best.routine), None)
        rows.append({"index": None if place.block else place.index, "layer": layer.name, "kind": layer.kind,
                     "measured": len(ranked), "routine": best and best.routine, "variant": best and best.variant,
                     "median_ns": best and best.median, "spread_ns": best and best.spread, "samples": best and best.count,
                     "next": other and other.routine, "next_ns": other and other.median})
    return rows


def _rounds(notes: dict[str, Any]) -> list[str]:
    """A sentence on how often each block ran in a call."""
    unrun = notes.get("unrun", [])
    ran = [f"{name} {count:g}" for name, count in notes.get("counts", {}).items() if name not in unrun]
    never = [f"{name} {notes['counts'][name]:g}" for name in unrun]
    return [*([f"runs of blocks in a call: {', '.join(ran)}"] if ran else []),
            *([f"blocks that never ran, measured as nets of their own; weights: {', '.join(never)}"] if never else [])]


def _table(rows: list[dict[str, Any]], notes: list[str]) -> Any:
    from ..report.tables import Column, Table, time_column
    return Table([Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind"),
                  Column("measured", "measured", right=True, fold=1), Column("routine", "fastest alone"),
                  Column("variant", "variant", fold=3), time_column("median_ns", "median"),
                  time_column("spread_ns", "spread", fold=5), Column("samples", "samples", right=True, fold=4),
                  Column("next", "next routine", fold=2), time_column("next_ns", "median", fold=2)],
                 rows, notes=notes)


def _summary(notes: dict[str, Any]) -> str:
    from ..tuning.findings import left_out
    words = f"{notes.get('known', 0)} of {notes.get('candidates', 0)} candidates measured"
    if "seconds" in notes:
        words += f", {notes.get('measured', 0)} in this run, {notes['seconds']:.1f} s, {notes.get('passes', 0)} passes"
    left = left_out(notes)
    return f"{words}\n{left}" if left else words
