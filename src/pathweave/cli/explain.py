"""pathweave explain: why a layer is computed as it is: every candidate, refusals, runner-up, margin, conversions paid."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from ..errors import ProfileError
from ..net.objective import THROUGHPUT
from ..words import counted
from ._errors import BadUse
from ._options import (
    Accuracy,
    Json,
    ModelPath,
    NarrowDouble,
    Routine,
    Shapes,
    Threads,
    check_accuracy,
    load_bound,
    restriction,
    stored_profile,
)
from ._output import print_json, print_tables

ORDER = 45


def command(
    model: ModelPath,
    layer: Annotated[str | None, typer.Argument(metavar="[LAYER]", show_default=False,
                                                help="Name or position of a layer, as `pathweave show` prints them.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="One line for every layer.")] = False,
    threads: Threads = None,
    shape: Shapes = None,
    accuracy: Accuracy = "f32",
    routine: Routine = None,
    narrow_double: NarrowDouble = False,
    json: Json = False,
) -> None:
    """Explain a choice from the measurements in the store; explains the tuned route where the model has one.

    Median, low decile and spread are of the layer in place in the net, at the machine's reference speed. Slower by:
    against the fastest candidate of this layer alone. The runner-up is the candidate with the best whole route beside
    the chosen one, conversions included, so it need not be the second fastest. Margin: by how much that route is
    slower; below 0 the measurements say that it is faster, and the race chose this one, or the route is older.
    Variant: micro-kernel, /what the routine varies, +1thread where one thread computes it. --all: the total is the
    sum of the steps; the prediction adds what a call takes around them. --routine: the route that is explained is
    the fastest of those routines, not the tuned one. Where nothing was measured, candidates stand with what they
    are expected to take, and the chosen one is what the untuned model runs on.
    """
    check_accuracy(accuracy)
    if (layer is None) == (not all_):
        raise BadUse("explain: expected a layer, by name or position as pathweave show prints them, or --all")
    loaded, bound = load_bound(model, threads, shape, narrow_double=narrow_double)
    shapes = bound.shapes
    route = loaded.route(shapes) if loaded.routes else None
    number, sessions = threads or (route.threads if route else loaded.threads), _at_once(route)
    options: dict[str, Any] = {"accuracy": accuracy, "threads": number, "shapes": shapes, "restrict": restriction(routine)}
    if options["restrict"] is not None:  # a word without effect is told whatever was measured
        allowed: list[list[Any]] = [[] for _ in bound.layers]
        for i, place in enumerate(bound.flat.places):
            allowed[place.position] += bound.flat.candidates(i, number, accuracy=accuracy, restrict=options["restrict"])[0]
        options["restrict"].check(bound.layers, allowed)
        route = None  # the tuned one knows nothing of it
    profile = stored_profile(loaded.bind(shapes), number, sessions)
    from ..tuning.explain import expect, explain
    try:
        if layer is None:
            _print_all(loaded, profile, route, options, json)
            return
        found = explain(loaded, layer, profile, route=route, **options)
    except ProfileError as e:
        # By estimates, as the model itself runs where nothing was measured.
        command = _profile_command(model, number, shape, accuracy, routine, narrow_double, sessions)
        unmeasured = f"{e}; times are estimates (docs/estimates.md)\nto measure this model here, run: {command}"
        if layer is None:
            _print_expected(loaded, route, options, json, unmeasured)
            return
        found = expect(loaded, layer, route=route, **options)
        found.notes.append(unmeasured)
    if json:
        print_json(found.to_json())
    else:
        print_tables(*_parts(found))


def _at_once(route: Any) -> int:
    """How many sessions ran at the same time when a route was measured here."""
    from ..runtime.native import native
    if route is None or route.objective != THROUGHPUT:
        return 1
    return min(route.sessions, int(native().usable_processors()))


def _profile_command(model: str, threads: int, shape: list[str] | None, accuracy: str, routine: list[str] | None,
                     narrow_double: bool, sessions: int) -> str:
    """The command that measures what an explanation with these options needs."""
    words = ["pathweave", "profile", model, "--threads", str(threads)]
    words += ["--objective", THROUGHPUT, "--sessions", str(sessions)] if sessions > 1 else []
    words += [w for text in shape or () for w in ("--shape", text)]
    words += ["--accuracy", accuracy] if accuracy != "f32" else []
    words += [w for text in routine or () for w in ("--routine", text)]
    words += ["--narrow-double"] if narrow_double else []
    return shlex.join(words)


def _print_all(loaded: Any, profile: Any, route: Any, options: dict[str, Any], json: bool) -> None:
    """The route's table: the tuned one, or the one that the measurements make the fastest."""
    from ..report.routes import origin_of, route_json, route_table
    from ..tuning.api import solve
    title = ""
    if route is None:
        route = solve(loaded, profile, **options)
        title = "the fastest route of what was measured"
        title += ", among what --routine allows" if options["restrict"] is not None else ""
    plan = loaded.plan(route, options["shapes"], options["threads"])
    if json:
        print_json(route_json(plan, end_to_end_ns=route.measured_ns))
    else:
        print_tables(route_table(plan, end_to_end_ns=route.measured_ns, title=title or origin_of(plan)))


def _print_expected(loaded: Any, route: Any, options: dict[str, Any], json: bool, unmeasured: str) -> None:
    """The table of the tuned route, or of the one of least estimated time, where nothing was measured here."""
    from ..report.routes import origin_of, route_json, route_table
    from ..runtime.defaults import usual_route
    bound = loaded.bind(options["shapes"])
    route = route or usual_route(bound, options["threads"], options["accuracy"], options["restrict"])
    plan = loaded.plan(route, options["shapes"], options["threads"])
    if json:
        print_json({**route_json(plan), "note": unmeasured})
    else:
        print_tables(route_table(plan, title=origin_of(plan)), "", f"note: {unmeasured}")


def _parts(e: Any) -> list[Any]:
    from ..profiling.rounds import sizes_text
    from ..report.tables import Column, Table, show_bytes, time_column
    from ..words import printable, short_floats
    inside = f", in {e.block!r}, which runs {e.runs:g} times in a call" if e.block else ""
    lines = [f"layer {e.index} {e.layer!r} ({e.kind}){inside}", f"  {short_floats(e.problem)}"]
    lines += [f"    {b['block']}: runs {b['runs']:g} times in a call"
              + ("" if b["counted"] else " (a weight: it never ran in the profile)") for b in e.blocks]
    lines += [f"  {sizes_text(e.sizes)}"] if e.sizes else []
    measured = any(r.cost_ns is not None for r in e.candidates)
    rows = [{**vars(r), "formats": f"{','.join(r.ins)} > {','.join(r.outs)}",
             "mark": "chosen" if r.chosen else "runner-up" if r.runner_up else "",
             "emphasis": "bold" if r.chosen else "dim" if measured and r.cost_ns is None else None} for r in e.candidates]
    parts: list[Any] = ["\n".join(map(printable, lines)), Table([
        Column("mark", ""), Column("routine", "routine"), Column("variant", "variant"), Column("formats", "formats", fold=1),
        Column("accuracy", "class", fold=2), time_column("cost_ns", "median"), time_column("p10_ns", "low decile", fold=4),
        time_column("spread_ns", "spread", fold=5), Column("count", "samples", right=True, fold=3),
        time_column("extra_ns", "slower by"), time_column("estimated_ns", "estimated", fold=7),
        Column("memory", "memory", lambda b: show_bytes(b) if b else "", True, fold=6)], rows, "candidates", [
            "times of the layer in the net, at the machine's reference speed, which is the speed of its fastest runs so far "
            "(docs/prediction.md); slower by: than the fastest of this layer alone",
            "estimated: what the routine was expected to take by what it says it does and this machine's rates "
            "(docs/estimates.md); it decides what an untuned model runs on, and nothing that is measured",
            "runner-up: the other candidate with the best whole route, conversions included; variant: micro-kernel, /what the "
            "routine varies, +1thread: one thread computes it"])]
    left = [{"routine": r.routine, "variant": r.variant, "reason": r.source.removeprefix("not measured: ")}
            for r in e.candidates if r.cost_ns is None]
    if left and measured:
        parts += ["", Table([Column("routine", "routine"), Column("variant", "variant"), Column("reason", "because")],
                            left, "not measured")]
    if e.refusals:
        parts += ["", Table([Column("routine", "routine"), Column("reason", "because")],
                            [{"routine": r, "reason": why} for r, why in e.refusals], "refused")]
    if e.conversions:
        parts += ["", Table([Column("value", "value"), Column("of", "of its"), Column("from", "from"), Column("to", "to"),
                             Column("routine", "routine"), time_column("cost_ns", "costs")], e.conversions, "conversions paid")]
    margin = [f"times of candidates are of one run; margin and conversions of all {e.runs:g} in a call"] if e.block else []
    if e.chosen and e.runner_up and e.margin_ns is not None:
        how = "the best whole route with it" if e.exact else "the route with this layer exchanged"
        margin.append(f"runner-up: {e.runner_up.routine} {e.runner_up.variant}".rstrip()
                      + f"; {how} {_margin(e)}")
    many = f", beside {counted(e.sessions - 1, 'other session')}" if e.sessions > 1 else ""
    what = "measured" if measured else "nothing was measured"
    sources = f"{what} on host {e.host}{many}" + (f"; route: {e.certificate}" if e.certificate else "")
    return [*parts, "", *margin, sources, *(f"note: {n}" for n in e.notes)]


def _margin(e: Any) -> str:
    """What the route with the runner-up is predicted to take more, or less where the race chose otherwise."""
    from ..report.tables import show_time
    if e.margin_ns < 0:
        return (f"is predicted to take {show_time(-e.margin_ns)} less than {show_time(e.route_ns)}: the race chose this one, "
                "or the route is older than the measurements")
    return f"takes {show_time(e.margin_ns)} more than {show_time(e.route_ns)}"
