"""pathweave verify: outputs against the NumPy meaning in float64, or against ONNX Runtime on the original file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._errors import BadUse
from ._options import (
    Json,
    ModelPath,
    OriginalOnnx,
    Routine,
    Shapes,
    Threads,
    load_model,
    parse_shapes,
    restriction,
)
from ._output import print_json, print_tables, progress

ORDER = 60


def command(
    model: ModelPath,
    against: Annotated[str, typer.Option(
        "--against", "-a", metavar="numpy|onnxruntime",
        help="Reference: NumPy in float64, or an engine of `bench --against list`.")] = "numpy",
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, metavar="N", help="Random inputs to try.")] = 3,
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer's error, on exact inputs.")] = False,
    limit: Annotated[float, typer.Option("--limit", min=0.0, metavar="X", help=
                                         "Largest difference allowed, over the largest output.")] = 1e-4,
    onnx: OriginalOnnx = None,
    shape: Shapes = None,
    threads: Threads = None,
    routine: Routine = None,
    json: Json = False,
) -> int:
    """Compare outputs with a reference. Exit code 1 when they differ by more than the limit, or packed weights are damaged."""
    from ..profile.protocol import random_inputs
    from ..report.agreement import compare, layer_errors, worst
    loaded = load_model(model, threads)
    damaged = _damaged(loaded)
    bound = loaded.bind(parse_shapes(shape, loaded.main))
    allowed = restriction(routine)
    route = None
    if allowed is not None:
        from ..runtime.defaults import default_route
        route = default_route(bound, loaded.threads, restrict=allowed)
    plan = loaded.plan(route, bound.shapes, loaded.threads)
    session = plan.session()
    reference = _reference(against, model, loaded, bound, onnx)
    rows, by_layer = [], {}
    with progress("verifying") as tell:
        for i in range(samples):
            tell(i / samples, f"sample {i + 1} of {samples}")
            inputs = random_inputs(bound, seed=i)
            wanted = reference(inputs)
            for name, array in session.run(inputs).items():
                rows.append({"sample": i, "output": name, **compare(array, wanted[name]).to_json()})
            if layers:
                for row in layer_errors(plan, inputs):
                    old = by_layer.setdefault(row["layer"], row)
                    for key in ("largest", "rms"):
                        old[key] = max(old[key], row[key])
    found = worst(_agreement(r) for r in rows)
    good = found.largest <= limit and not damaged
    outputs = _worst_per_output(rows)
    if json:
        print_json({"model": model, "against": against, "samples": samples, "limit": limit, "ok": good,
                    "threads": plan.threads, "largest": found.largest, "rms": found.rms, "outputs": outputs, "damaged": damaged,
                    "layers": list(by_layer.values()) or None})
    else:
        print_tables(*_tables(outputs, list(by_layer.values()), against, samples),
                     *(f"packed weights of {name}: their contents are not those that were saved" for name in damaged),
                     f"{'agrees' if found.largest <= limit else 'DIFFERS'}: largest difference {found.largest:.2e} "
                     f"of the largest output, "
                     f"limit {limit:.0e}")
    return 0 if good else 1


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
