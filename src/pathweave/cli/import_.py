"""pathweave import: a model of another framework becomes one `.pw` file."""

from __future__ import annotations

from typing import Annotated

import typer

from ._calibration import Calibrate, calibrate_with
from ._options import Json, ModelPath, existing_file, load_model, writable_target
from ._output import print_json

ORDER = 10


def command(
    model: ModelPath,
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.pw", help="File to write.", show_default=False)],
    preprocess: Annotated[str | None, typer.Option(metavar="JSON", show_default=False,
                                                   help="JSON file with the net in front of the model.")] = None,
    postprocess: Annotated[str | None, typer.Option(metavar="JSON", show_default=False,
                                                    help="JSON file with the net behind the model.")] = None,
    calibrate: Calibrate = None,
    json: Json = False,
) -> None:
    """Read a model, attach pre- and postprocess nets, calibrate it for 8-bit routines, write it as one file."""
    writable_target(out, "model")
    for path in (preprocess, postprocess):
        if path is not None:
            existing_file(path, "pipeline")
    loaded = load_model(model, None, preprocess, postprocess)
    samples = calibrate_with(loaded, calibrate)
    loaded.save(out)
    nets = {name: {"layers": len(net.layers), "inputs": {n: str(s) for n, s in net.inputs.items()},
                   "outputs": net.outputs} for name, net in loaded.nets.items()}
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
