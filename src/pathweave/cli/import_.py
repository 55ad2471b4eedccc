"""pathweave import: a model of another framework becomes one `.pw` file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._calibration import Calibrate, calibrate_with
from ._options import Json, ModelPath, existing_file, load_model, new_shapes, writable_target
from ._output import print_json

ORDER = 10


def command(
    model: ModelPath,
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.pw", help="File to write.", show_default=False)],
    preprocess: Annotated[str | None, typer.Option(metavar="JSON", show_default=False,
                                                   help="JSON file with the net in front of the model.")] = None,
    postprocess: Annotated[str | None, typer.Option(metavar="JSON", show_default=False,
                                                    help="JSON file with the net behind the model.")] = None,
    external_root: Annotated[str | None, typer.Option(
        "--external-root", metavar="FOLDER", show_default=False,
        help="Another folder that external weights may come from, where links beside the model lead there.")] = None,
    calibrate: Calibrate = None,
    shape: Annotated[list[str] | None, typer.Option(
        "--shape", "-s", metavar="NAME=Nx3x224x224", show_default=False,
        help="Shape of an input in place of the declared one, of sizes and symbols, or the size of a symbol (N=4); may be "
             "repeated.")] = None,
    json: Json = False,
) -> None:
    """Read a model, attach pre- and postprocess nets, calibrate it for 8-bit routines, write it as one file."""
    writable_target(out, "model")
    for path in (preprocess, postprocess):
        if path is not None:
            existing_file(path, "pipeline")
    options: dict[str, Any] = {} if external_root is None else {"external_root": external_root}
    loaded = load_model(model, None, preprocess, postprocess, **options)
    if shape:
        loaded = load_model(model, None, preprocess, postprocess, shapes=new_shapes(shape, loaded.main), **options)
    samples = calibrate_with(loaded, calibrate)
    loaded.save(out)
    nets: dict[str, dict[str, Any]] = {
        name: {"layers": len(net.layers), "inputs": {n: str(s) for n, s in net.inputs.items()}, "outputs": net.outputs}
        for name, net in loaded.nets.items()}
    if json:
        print_json({"model": model, "file": out, "meta": loaded.meta, "nets": nets, "samples": samples,
                    "quantisation": loaded.quantisation, "notes": loaded.notes})
        return
    print(f"{out}: written from {model}")
    for name, net in nets.items():
        ins = ", ".join(f"{n} {s}" for n, s in net["inputs"].items())
        print(f"  {name:12s} {net['layers']:4d} layers   {ins} -> {', '.join(net['outputs'])}")
    if samples is not None:
        print(f"  calibrated   {len(loaded.quantisation['main'])} values on {samples} samples")
