"""pathweave bench: our time against other engines, interleaved in one process; peak memory in processes of their own;
with --roof, the time of every step against the least that the machine allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ..net.objective import LATENCY
from ._calibration import Data, first_sample
from ._errors import BadUse
from ._options import (
    Accuracy,
    Batch,
    Json,
    MaxPixels,
    ModelPath,
    NarrowDouble,
    Objective,
    OriginalOnnx,
    Routine,
    Sessions,
    Shapes,
    Threads,
    aim_of,
    check_accuracy,
    cut,
    existing_file,
    load_bound,
    restriction,
    stored_profile,
    writable_target,
)
from ._output import plain, print_json, print_tables, progress

ORDER = 70
#: Seconds of timed runs for --roof.
ROOF_SECONDS = 4.0


def command(
    model: ModelPath,
    against: Annotated[list[str] | None, typer.Option(
        "--against", "-a", metavar="ENGINE", show_default=False,
        help="Engine to compare with; may be repeated; `all` for every one of the class, `list` to see them.")] = None,
    accuracy: Accuracy = "f32",
    onnx: OriginalOnnx = None,
    threads: Threads = None,
    batch: Batch = None,
    shape: Shapes = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Rounds of two timed calls each.")] = 30,
    default: Annotated[bool, typer.Option("--default", help="Also time our default route, the one without a profile.")] = False,
    uniform: Annotated[bool, typer.Option("--uniform", help="Also time the best route of every single accuracy class "
                                          "that --accuracy allows.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Tune first (quick where the store knows the problems).")] = False,
    data: Data = None,
    memory: Annotated[bool, typer.Option("--memory", help="Also report peak memory: load and ten runs, each in a fresh "
                                         "process.")] = False,
    roof: Annotated[bool, typer.Option("--roof", help="Show instead, for every step of the route, time, operations, bytes, "
                                       "and the share that it reaches of the least time that this machine allows.")] = False,
    objective: Objective = LATENCY,
    sessions: Sessions = None,
    order: Annotated[str, typer.Option("--order", metavar="HOW", help="Rows of --roof: net, time, share, or lost (most time "
                                       "above the roof).")] = "net",
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FILE.json", show_default=False,
                                            help="Write the result as JSON.")] = None,
    routine: Routine = None,
    narrow_double: NarrowDouble = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> int:
    """Time a model, verified and interleaved with other engines. Exit code 1 where an f32 engine's outputs differ.

    With --objective throughput, calls per second of several callers at the same time: the route that was tuned for them, and
    one session with all threads.
    """
    from ..report import bench, ours
    names = against or []
    if "list" in names:
        _list(json)
        return 0
    peers = _select(names, check_accuracy(accuracy))
    _check_roof(roof, order, names, default or uniform, memory)
    writable_target(out, "result")
    loaded, bound = load_bound(model, threads, shape, batch, narrow_double=narrow_double)
    aim = _aim(loaded, objective, sessions, threads, roof or uniform or memory)
    source = _source(model, loaded, onnx, peers)
    missing = ours.missing_class(accuracy)
    if accuracy == "quantised" and not missing and not bound.scales:
        bound = ours.calibrated(loaded, bound)
    given = None if data is None else first_sample(loaded, data, bound, max_pixels)
    if tune and not missing:
        loaded = _tuned(loaded, bound, accuracy, aim)
    if roof:
        return _roof(model, loaded, bound, restriction(routine), order, out, json)
    race, allowed = _Race(model, loaded, bound, accuracy, peers, source, rounds, data), restriction(routine)
    if aim.throughput:
        return _end(*race.throughput(aim, default, allowed, missing, given), out, json)
    result = race.run(default, uniform, allowed, missing, given, memory)
    return _end(result, [bench.table(result), *_memory_table(result)], out, json)


def _end(result: dict[str, Any], tables: list[Any], out: str | None, json: bool) -> int:
    """Write and print a result; the exit code."""
    from ..report import bench, ours
    if out is not None:
        _write(out, result)
    if json:
        print_json(result)
    else:
        print_tables(*tables)
    return int(any(ours.exact(e["accuracy"]) and e.get("difference", 0.0) > bench.EXACT for e in result["engines"]))


@dataclass
class _Race:
    """What a benchmark runs on. `source`: the ONNX file that `peers` read; `data`: where the inputs come from."""

    model: str
    loaded: Any
    bound: Any
    accuracy: str
    peers: list[Any]
    source: str | None
    rounds: int
    data: str | None

    def run(self, default: bool, uniform: bool, allowed: Any, missing: str, given: dict[str, Any] | None,
            memory: bool) -> dict[str, Any]:
        """Time all engines in turns and compare their outputs; the result as plain data."""
        from ..report import bench
        from ..report.ours import task_of
        loaded, bound = self.loaded, self.bound
        with progress("benchmark") as tell:
            entries, inputs = _ours(loaded, bound, default, allowed, self.accuracy, missing, given)
            if uniform and not missing:
                entries += _uniform(loaded, bound, allowed, self.accuracy, inputs)
            for peer in self.peers:
                tell(0.0, f"loading {peer.name}")
                entries.append(bench.prepare_peer(peer, task_of(self.source or "", inputs, bound, loaded.threads)))
            facts = bench.host_facts()
            bench.check(entries)
            bench.measure(entries, self.rounds, tell=tell)
            facts["load_after"] = bench.load_average()
            run = {"model": self.model, "shapes": bound.shapes, "threads": loaded.threads, "rounds": self.rounds, "calls": 2,
                   "seed": bench.SEED, "accuracy": self.accuracy, "route": entries[0].version,
                   "first": next((e.name for e in entries if e.call is not None), entries[0].name),
                   "reference": (bench.reference(entries) or entries[0]).name, "data": self.data}
            result = bench.report(entries, facts, run)
            if memory:
                tell(1.0, "measuring memory")
                result["memory"] = _memory(self.model, self.source, bound, loaded.threads, self.peers)
        return result


    def throughput(self, aim: Any, default: bool, allowed: Any, missing: str,
                   given: dict[str, Any] | None) -> tuple[dict[str, Any], list[Any]]:
        """The comparison by calls per second, and its table."""
        from ..report import bench, throughput
        from ..report.ours import task_of
        from ..runtime.defaults import usual_route
        from ..runtime.inputs import random_inputs
        loaded, bound, many = self.loaded, self.bound, (aim.sessions, aim.threads)
        inputs = random_inputs(bound) if given is None else given
        with progress("benchmark") as tell:
            if missing:
                entries = [throughput.Callers("pathweave", reason=missing, accuracy=self.accuracy)]
            else:
                own = _route(loaded, bound, allowed, self.accuracy, aim.threads)
                entries = [throughput.ours("pathweave", loaded, bound, own, inputs, *many),
                           throughput.ours("pathweave, one session", loaded, bound,
                                           _route(loaded, bound, allowed, self.accuracy, aim.team), inputs, 1, aim.team)]
            if default and not missing:
                usual = usual_route(bound, aim.threads)
                entries.append(throughput.ours("pathweave-default", loaded, bound, usual, inputs, *many))
            for peer in self.peers:
                tell(0.0, f"loading {peer.name}")
                entries.append(throughput.peer(peer, task_of(self.source or "", inputs, bound, 1), aim.sessions))
            facts = bench.host_facts()
            throughput.check(entries)
            throughput.measure(entries, self.rounds, tell)
            facts["load_after"] = bench.load_average()
        result = throughput.report(entries, facts, {
            "model": self.model, "shapes": bound.shapes, "objective": aim.objective, "sessions": aim.sessions,
            "threads": aim.team, "rounds": self.rounds, "seed": bench.SEED, "accuracy": self.accuracy, "data": self.data,
            "route": entries[0].version, "first": next((e.name for e in entries if e.calls), entries[0].name)})
        return result, [throughput.table(result, aim)]


def _source(model: str, loaded: Any, onnx: str | None, peers: list[Any]) -> str | None:
    """The ONNX file that the peers read. Raises BadUse."""
    if onnx is not None and not peers:
        raise BadUse(f"--onnx {cut(onnx)}: no engine is there that reads it; name one with --against")
    return _onnx(model, loaded, onnx) if peers else None


def _aim(loaded: Any, objective: str, sessions: int | None, threads: int | None, other: bool) -> Any:
    """What is compared. `other`: whether an option asks for another report. Raises BadUse."""
    aim = aim_of(loaded, objective, sessions, threads)
    if aim.throughput and other:
        raise BadUse("--objective throughput: a report of its own; leave out --roof, --uniform and --memory")
    return aim


def _check_roof(roof: bool, order: str, names: list[str], default: bool, memory: bool) -> None:
    from ..report.roof import ORDERS
    if not roof and order != "net":
        raise BadUse(f"--order {cut(order)}: it orders the rows of --roof; give that too")
    if roof and (names or default or memory):
        raise BadUse("--roof: a report of its own; leave out --against, --default, --uniform and --memory")
    if order not in ORDERS:
        raise BadUse(f"--order {order}: expected one of {', '.join(ORDERS)}")


def _roof(model: str, loaded: Any, bound: Any, allowed: Any, order: str, out: str | None, json: bool) -> int:
    """The roof table of the model's route."""
    from ..report import roof
    from ..report.timing import step_samples
    from ..runtime.inputs import random_inputs
    from ..runtime.limits import limits
    inputs = random_inputs(bound)
    plan = loaded.plan(_route(loaded, bound, allowed), bound.shapes, loaded.threads)
    with progress("roof") as tell:
        found = limits([plan.threads], tell=tell)
        tell(0.5, "timing steps")
        session = plan.session()
        samples, calls = step_samples(session, inputs, seconds=ROOF_SECONDS, at_least=10, at_most=1000)
    result = roof.report(plan, samples, found, calls, model, session.counts())
    if out is not None:
        _write(out, result)
    if json:
        print_json({**result, "steps": roof.ordered(result["steps"], order)})
    else:
        print_tables(roof.step_table(result, order), "", roof.total_table(result))
    return 0


def _route(loaded: Any, bound: Any, allowed: Any, accuracy: str = "f32", threads: int | None = None) -> Any:
    """The model's own route, or the default one among what --routine and --accuracy allow. `threads` None: the model's."""
    from ..report.ours import exact
    from ..runtime.defaults import default_route, usual_route
    number = threads or loaded.threads
    own = loaded.route(bound.shapes, number) if allowed is None else None
    if own is not None and (own.certificate != "default" or exact(accuracy)):
        return own
    if allowed is None:
        return usual_route(bound, number, accuracy)
    return default_route(bound, number, accuracy, allowed)


def _select(names: list[str], accuracy: str) -> list[Any]:
    from ..report import bench
    try:
        return bench.select(names, accuracy)
    except KeyError as e:
        from ..report.peers import peers
        raise BadUse(f"--against {e.args[0]}: unknown; expected all, list, or one of {', '.join(peers())}") from None


def _list(json: bool) -> None:
    from ..report.peers import peers
    from ..report.tables import Column, Table
    rows = [{"engine": p.name, "accuracy": p.accuracy, "version": p.version(),
             "reason": p.missing()} for p in peers().values()]
    if json:
        print_json(rows)
    else:
        print_tables(Table([Column("engine", "engine"), Column("accuracy", "class"), Column("version", "version"),
                            Column("reason", "not available because")], rows))


def _onnx(model: str, loaded: Any, given: str | None) -> str:
    """Path of the ONNX file that other engines read."""
    if given is not None:
        return str(existing_file(given, "ONNX", "--onnx"))
    if loaded.meta.get("format") == "onnx":
        from ..files.model import recognises
        with open(model, "rb") as f:
            if not recognises(f.read(64)):
                return model
    raise BadUse(f"{model}: other engines need the ONNX file that it was made from; give it with --onnx FILE")


def _tuned(loaded: Any, bound: Any, accuracy: str, aim: Any) -> Any:
    from ..tuning.api import tune
    with progress("tuning") as report:
        return tune(loaded, threads=aim.team if aim.throughput else loaded.threads, shapes=bound.shapes, accuracy=accuracy,
                    progress=report, objective=aim.objective, sessions=aim.sessions)


def _ours(loaded: Any, bound: Any, default: bool, allowed: Any, accuracy: str,
          missing: str, given: dict[str, Any] | None) -> tuple[list[Any], dict[str, Any]]:
    """Our entries, the model's own route first, and the inputs that all engines get (`given`, or random ones).

    Beside a route below class f32 the default one runs, so that there is something to compare with.
    """
    from ..report.bench import Entry
    from ..report.ours import entry_of, exact
    from ..runtime.defaults import usual_route
    from ..runtime.inputs import random_inputs
    inputs = random_inputs(bound) if given is None else given
    if missing:
        return [Entry("pathweave", None, missing, accuracy)], inputs
    route = _route(loaded, bound, allowed, accuracy)
    entries = [entry_of("pathweave", loaded, bound, route, inputs)]
    if default and route.certificate != "default" or not exact(entries[0].accuracy):
        entries.append(entry_of("pathweave-default", loaded, bound, usual_route(bound, loaded.threads), inputs))
    return entries, inputs


def _uniform(loaded: Any, bound: Any, allowed: Any, accuracy: str, inputs: dict[str, Any]) -> list[Any]:
    """Our entries for the best route of every single class, from what the store knows."""
    from ..report.ours import entry_of
    from ..tuning.costs import Costs
    from ..tuning.plain import single_class_routes
    costs = Costs.of(bound, stored_profile(bound, loaded.threads), loaded.threads, accuracy, allowed)
    return [entry_of(f"pathweave-{name.replace(' ', '-')}", loaded, bound, route, inputs)
            for name, route in single_class_routes(costs)]


def _memory(model: str, onnx: str | None, bound: Any, threads: int, peers: list[Any]) -> dict[str, Any]:
    from ..report import memory
    engines = ["pathweave", *(p.name for p in peers if not p.missing())]
    return {e: memory.measure(e, model, onnx or "", bound.shapes, threads) for e in engines}


def _memory_table(result: dict[str, Any]) -> list[Any]:
    if "memory" not in result:
        return []
    from ..report.tables import Column, Table, show_bytes
    rows = [{"engine": name, **facts} for name, facts in result["memory"].items()]
    return ["", Table([Column("engine", "engine"), Column("peak_bytes", "peak memory", show_bytes, True),
                       Column("base_bytes", "of it before loading", show_bytes, True), Column("reason", "reason")], rows,
                      notes=["largest resident size of a fresh process: load, ten runs"])]


def _write(path: str, result: dict[str, Any]) -> None:
    import json

    from ..files.model import atomic_writer
    with atomic_writer(path) as f:
        f.write((json.dumps(plain(result), indent=1, allow_nan=False) + "\n").encode())
