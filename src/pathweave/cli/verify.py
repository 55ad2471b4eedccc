"""pathweave verify: outputs against the NumPy meaning in float64, or against ONNX Runtime on the original file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._calibration import Data
from ._calibration import data as samples_of
from ._errors import BadUse
from ._options import (
    Accuracy,
    Json,
    ModelPath,
    OriginalOnnx,
    Routine,
    Shapes,
    Threads,
    check_accuracy,
    load_bound,
    restriction,
)
from ._output import print_json, print_tables, progress

ORDER = 60


def command(
    model: ModelPath,
    against: Annotated[str, typer.Option(
        "--against", "-a", metavar="numpy|onnxruntime",
        help="Reference: NumPy in float64, or an engine of `bench --against list`.")] = "numpy",
    samples: Annotated[int | None, typer.Option("--samples", "-n", min=1, metavar="N", show_default=False,
                                                help="Inputs to try; default: 3 random ones, or all of --data.")] = None,
    data: Data = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer's error, on exact inputs.")] = False,
    limit: Annotated[float | None, typer.Option(
        "--limit", min=0.0, metavar="X", show_default=False,
        help="Largest difference allowed: over the largest output, default 1e-4; with a route below class f32 of RMS over "
             "RMS, default 0.1.")] = None,
    accuracy: Accuracy = "f32",
    onnx: OriginalOnnx = None,
    shape: Shapes = None,
    threads: Threads = None,
    routine: Routine = None,
    json: Json = False,
) -> int:
    """Compare outputs with a reference. Exit code 1 when they differ by more than the limit, or packed weights are
    damaged.

    `--accuracy` is what `--routine` may use; without that the model's own route runs.
    """
    from ..net.accuracy import accuracy_rank
    from ..report.agreement import least_accurate, worst
    check_accuracy(accuracy)
    loaded, bound = load_bound(model, threads, shape)
    damaged = _damaged(loaded)
    allowed = restriction(routine)
    route = None
    if allowed is not None:
        from ..runtime.defaults import default_route
        route = default_route(bound, loaded.threads, accuracy, allowed)
    plan = loaded.plan(route, bound.shapes, loaded.threads)
    count, tried = _inputs(loaded, bound, data, samples)
    rows, by_layer, classes = _compared(plan, _reference(against, model, loaded, bound, onnx), count, tried, layers)
    found = worst(_agreement(r) for r in rows)
    least = least_accurate(plan)
    below = accuracy_rank(least) > accuracy_rank("f32")
    limit = (0.1 if below else 1e-4) if limit is None else limit
    agrees = (found.rms if below else found.largest) <= limit
    good = agrees and not damaged
    outputs = _worst_per_output(rows)
    if json:
        print_json({"model": model, "against": against, "samples": count, "limit": limit, "ok": good, "accuracy": least,
                    "threads": plan.threads, "largest": found.largest, "rms": found.rms, "outputs": outputs,
                    "damaged": damaged,
                    "top1": {"same": classes[0], "rows": classes[1]} if classes[1] else None,
                    "layers": list(by_layer.values()) or None})
    else:
        measure = f"relative RMS difference {found.rms:.2e}" if below else \
            f"largest difference {found.largest:.2e} of the largest output"
        best = f"; the best class is the same in {classes[0]} of {classes[1]} rows" if classes[1] else ""
        print_tables(*_tables(outputs, list(by_layer.values()), against, count),
                     *(f"packed weights of {name}: their contents are not those that were saved" for name in damaged),
                     f"{'agrees' if agrees else 'DIFFERS'}: {measure}, limit {limit:.0e} (accuracy class {least}){best}")
    return 0 if good else 1


def _compared(plan: Any, reference: Any, count: int, tried: Any, layers: bool) -> tuple[list, dict, list[int]]:
    """A row per sample and output, the worst row of every layer, and [rows of scores with the same best class, all]."""
    from ..report.agreement import compare, layer_errors, same_class
    session = plan.session()
    rows, by_layer, classes = [], {}, [0, 0]
    with progress("verifying") as tell:
        for i, inputs in enumerate(tried):
            tell(i / count, f"sample {i + 1} of {count}")
            wanted = reference(inputs)
            for name, array in session.run(inputs).items():
                rows.append({"sample": i, "output": name, **compare(array, wanted[name]).to_json()})
                classes = [a + b for a, b in zip(classes, same_class(array, wanted[name]) or (0, 0))]
            for row in layer_errors(plan, inputs) if layers else ():
                old = by_layer.setdefault(row["layer"], row)
                for key in ("largest", "rms"):
                    old[key] = max(old[key], row[key])
    return rows, by_layer, classes


def _inputs(loaded: Any, bound: Any, data: str | None, samples: int | None) -> tuple[int, Any]:
    """How many inputs there are, and they, one after another."""
    from itertools import islice

    from ..profile.protocol import random_inputs
    if data is None:
        return samples or 3, (random_inputs(bound, seed=i) for i in range(samples or 3))
    count, found = samples_of(loaded, data)
    count = min(count, samples or count)
    if not count:
        raise BadUse(f"--data {data}: it has no sample")
    return count, islice(found, count)


def _damaged(loaded: Any) -> list[str]:
    """Constants whose packed copies in the file are not what was saved."""
    return [] if loaded.packed is None else sorted({p.constant for p in loaded.packed.packings if not p.intact()})


def _reference(against: str, model: str, loaded: Any, bound: Any, onnx: str | None) -> Any:
    """A function from inputs by name to outputs by name."""
    if against == "numpy":
        from ..net.evaluate import evaluate
        return lambda inputs: evaluate(loaded.main, inputs, "f64")
    from ..report.peers import Declined, Task, peers, prepared
    from .bench import _onnx
    if against not in peers():
        raise BadUse(f"--against {against}: unknown; expected numpy, or one of {', '.join(peers())}")
    peer = peers()[against]
    if peer.missing():
        raise BadUse(f"--against {against}: {peer.missing()}")
    path, outputs = _onnx(model, loaded, onnx), tuple(bound.net.outputs)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(zip(outputs, prepared(peer, Task(path, inputs, outputs, loaded.threads))()))
        except Declined as e:
            raise BadUse(f"--against {against}: it cannot run this model: {e}") from e
    return run


def _agreement(row: dict[str, Any]) -> Any:
    from ..report.agreement import Agreement
    return Agreement(row["largest"], row["rms"])


def _worst_per_output(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["largest"] >= found.get(row["output"], {"largest": -1.0})["largest"]:
            found[row["output"]] = row
    return list(found.values())


def _tables(outputs: list[dict[str, Any]], layers: list[dict[str, Any]], against: str, samples: int) -> list[Any]:
    from ..report.tables import Column, Table, show_error
    errors = [Column("largest", "largest", show_error, True), Column("rms", "RMS", show_error, True)]
    tables: list[Any] = []
    if layers:
        tables.append(Table([Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind"),
                             Column("routine", "routine"), Column("variant", "variant"), Column("accuracy", "class"),
                             *errors], layers, "layers, each on exact inputs, against float64"))
    tables.append(Table([Column("output", "output"), Column("sample", "worst sample", right=True), *errors], outputs,
                        f"outputs against {against}, {samples} samples"))
    return tables
