"""pathweave verify: outputs against the NumPy meaning in float64, or against ONNX Runtime on the original file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._calibration import SeveralData, all_data
from ._errors import BadUse
from ._options import (
    Accuracy,
    Json,
    MaxPixels,
    ModelPath,
    NarrowDouble,
    OriginalOnnx,
    Routine,
    Shapes,
    Threads,
    check_accuracy,
    cut,
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
    data: SeveralData = None,
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
    narrow_double: NarrowDouble = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> int:
    """Compare outputs with a reference, whole and channel by channel. Exit code 1 when they differ by more than the limit,
    or weights are damaged.

    `--accuracy` is what `--routine` may use; without that the model's own route runs.
    """
    from ..meaning.evaluate import evaluate
    from ..report import verification
    check_accuracy(accuracy)
    loaded, bound = load_bound(model, threads, shape, narrow_double=narrow_double)
    damaged = _damaged(model, loaded)
    allowed = restriction(routine)
    route = None
    if allowed is not None:
        from ..runtime.defaults import default_route
        route = default_route(bound, loaded.threads, accuracy, allowed)
    plan = loaded.plan(route, bound.shapes, loaded.threads)
    count, tried = _inputs(loaded, bound, data, samples, max_pixels)
    with progress("verifying") as tell:
        found = verification.verify(plan, tried, _reference(against, model, loaded, bound, onnx), limit=limit,
                                    meaning=lambda inputs, precision: evaluate(loaded.main, inputs, precision), layers=layers,
                                    tell=lambda i: tell(i / count, f"sample {i + 1} of {count}"))
    good = found.ok and not damaged
    if json:
        same, rows = found.best_class
        print_json({"model": model, "against": against, "samples": count, "limit": found.limit, "ok": good,
                    "accuracy": found.accuracy, "threads": plan.threads, **found.worst.to_json(),
                    "outputs": [o.to_json() for o in found.outputs], "damaged": damaged,
                    "top1": {"same": same, "rows": rows} if rows else None, "layers": found.layers or None,
                    **({"blocks": found.blocks} if found.blocks else {})})
    else:
        print_tables(*verification.tables(found, against, count), *damaged, *verification.sentences(found, not data))
    return 0 if good else 1


def _inputs(loaded: Any, bound: Any, data: list[str] | None, samples: int | None, max_pixels: int | None) -> tuple[int, Any]:
    """How many inputs there are, and they, one after another."""
    from ..runtime.inputs import random_inputs
    if data:
        return all_data(loaded, data, samples, max_pixels)
    return samples or 3, (random_inputs(bound, seed=i) for i in range(samples or 3))


def _damaged(model: str, loaded: Any) -> list[str]:
    """Sentences on weights in the file, packed ones too, that are not what was saved."""
    from ..files.model import damage, recognises
    with open(model, "rb") as f:
        if not recognises(f.read(64)):
            return []
    names = {f"packed/{i}": p for i, p in enumerate(loaded.packed.packings)} if loaded.packed else {}
    # Packed weights carry digests of their own, from when they were packed.
    found = sorted({*(damage(model) or ()), *(name for name, p in names.items() if not p.intact())})
    return [f"packed weights of {names[n].constant}: their contents are not those that were saved" if n in names else
            f"{n}: its contents are not those that were saved" for n in found]


def _reference(against: str, model: str, loaded: Any, bound: Any, onnx: str | None) -> Any:
    """A function from inputs by name to outputs by name."""
    if against == "numpy":
        if onnx is not None:
            raise BadUse(f"--onnx {cut(onnx)}: NumPy does not read it; compare with what does, such as --against onnxruntime")
        from ..meaning.evaluate import evaluate
        return lambda inputs: evaluate(loaded.main, inputs, "f64")
    import numpy as np

    from ..report.peers import Declined, Task, peers, prepared
    from .bench import _onnx
    if against not in peers():
        raise BadUse(f"--against {against}: unknown; expected numpy, or one of {', '.join(peers())}")
    peer = peers()[against]
    if peer.missing():
        raise BadUse(f"--against {against}: {peer.missing()}")
    path, outputs = _onnx(model, loaded, onnx), tuple(bound.net.outputs)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        contiguous = {n: np.asarray(a, order="C") for n, a in inputs.items()}
        try:
            return dict(zip(outputs, prepared(peer, Task(path, contiguous, outputs, loaded.threads))()))
        except Declined as e:
            raise BadUse(f"--against {against}: it cannot run this model: {e}") from e
    return run
