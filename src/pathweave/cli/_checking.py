"""`import --check`: the imported model against another engine on the original file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import OpenSizesError
from ._calibration import RULE, WHERE, all_data
from ._errors import BadUse
from ._output import progress

Check = Annotated[bool, typer.Option(
    "--check", help="Compare the imported model with ONNX Runtime, or with the evaluator of the package onnx, on the original "
                    "file; exit code 1 where an output differs.")]
CheckData = Annotated[list[str] | None, typer.Option(
    "--data", "-d", metavar=WHERE, show_default=False,
    help="With --check: inputs to try instead of random ones, arrays by input name, or a folder of images; may be repeated. "
         f"{RULE}")]
Samples = Annotated[int | None, typer.Option(
    "--samples", "-n", min=1, metavar="N", show_default=False,
    help="With --check: inputs to try; default: 3 random ones, or all of --data.")]
Limit = Annotated[float | None, typer.Option(
    "--limit", min=0.0, metavar="X", show_default=False,
    help="With --check: largest difference allowed, over the largest output; default 1e-4, more for models in 16 or 8 bits.")]
Against = Annotated[str | None, typer.Option(
    "--against", "-a", metavar="onnxruntime|onnx.reference", show_default=False,
    help="With --check: what to compare with; default: ONNX Runtime where it is installed.")]
Difference = Annotated[str | None, typer.Option(
    "--difference", metavar="FILE.npz", show_default=False,
    help="With --check: where the inputs of the first layer that differs are written; default: MODEL's name with the ending "
         ".difference.npz, in the current folder.")]


def checked(loaded: Any, model: str, options: dict[str, Any], data: list[str] | None, samples: int | None, limit: float | None,
            against: str | None, max_pixels: int | None) -> Any:
    """What `report.checking.check` finds on a model that was just imported. Raises BadUse, InputError."""
    from ..report.checking import check
    from ..report.sources import source_of
    plain = {k: v for k, v in options.items() if k != "preprocess"}
    source = source_of(model, against, plain)
    count, tried = _inputs(loaded, data, samples, max_pixels)
    with progress("checking") as tell:
        return check(loaded, source, tried, count, limit, tell)


def _inputs(loaded: Any, data: list[str] | None, samples: int | None,
            max_pixels: int | None) -> tuple[int, Iterator[dict[str, Any]]]:
    """How many samples there are, and they."""
    from ..runtime.inputs import random_inputs
    if data:
        return all_data(loaded, data, samples, max_pixels)
    bound = _bound(loaded)
    return samples or 3, (random_inputs(bound, seed=i) for i in range(samples or 3))


def _bound(loaded: Any) -> Any:
    """The main net at its own sizes, or where they are open at sizes that stand for others."""
    try:
        return loaded.bind()
    except OpenSizesError as e:
        from ..meaning import open_shapes
        sizes = open_shapes.infer(loaded.main.copy()).representative(loaded.main.inputs)
        if sizes is None:
            raise BadUse(f"--check: the size of {', '.join(e.symbols)} is open ({e.inputs}), and none that fits was found: "
                         f"give it, such as --shape {e.symbols[0]}=16, or inputs with --data FILE.npz") from e
        return loaded.bind(sizes)


def write_difference(found: Any, model: str, target: str | None) -> str | None:
    """Write the first layer that differs to an .npz file; its name, None where there is nothing to write."""
    if found.first is None:
        return None
    import numpy as np
    name = target or f"{Path(model).stem}.difference.npz"
    np.savez(name, **found.first.arrays())
    return name


def as_json(found: Any, file: str | None) -> dict[str, Any]:
    """The check as one JSON object."""
    result = found.verification
    return {"ok": found.ok, "against": found.engine, "advice": found.advice or None, "samples": found.samples,
            "inputs": [vars(i) for i in found.inputs], "second": found.second,
            "limit": result.limit, **result.worst.to_json(), "outputs": [o.to_json() for o in result.outputs],
            "first": None if found.first is None else {**found.first.to_json(), "file": file}}


def shown(found: Any, made_up: bool, file: str | None) -> list[Any]:
    """Tables and sentences of it."""
    from ..report.checking import sentences
    from ..report.verification import tables
    lines = sentences(found, made_up)
    if file is not None:
        lines.insert(-1, f"the inputs of that layer, and its result here and there, are in {file}")
    return [*tables(found.verification, found.engine, found.samples), *lines]
