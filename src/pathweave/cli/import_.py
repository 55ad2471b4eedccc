"""pathweave import: a model of another framework becomes one `.pw` file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ._calibration import Calibrate, calibrate_with
from ._errors import BadUse
from ._options import (
    Json,
    Layouts,
    MaxPixels,
    ModelPath,
    NarrowDouble,
    States,
    cut,
    existing_file,
    load_model,
    new_shapes,
    states_json,
    writable_target,
)
from ._output import print_json, print_tables

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
    layout: Layouts = None,
    state: States = None,
    narrow_double: NarrowDouble = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Read a model, attach pre- and postprocess nets, calibrate it for 8-bit routines, write it as one file."""
    from ..net.border import in_layout
    from ..net.scales import plain_scales
    from ..words import counted, printable
    writable_target(out, "model")
    for option, path in (("--preprocess", preprocess), ("--postprocess", postprocess)):
        if path is not None:
            existing_file(path, "pipeline", option)
    if external_root is not None and not Path(external_root).is_dir():
        raise BadUse(f"--external-root {cut(external_root)}: expected a folder that is there")
    options: dict[str, Any] = {} if external_root is None else {"external_root": external_root}
    loaded = load_model(model, None, preprocess, postprocess, narrow_double, layout, state, **options)
    if shape:
        loaded = load_model(model, None, preprocess, postprocess, narrow_double, layout, state,
                            shapes=new_shapes(shape, loaded.main), **options)
    samples = calibrate_with(loaded, calibrate, max_pixels)
    loaded.save(out)
    chosen = {"main": loaded.layouts}
    nets: dict[str, dict[str, Any]] = {
        name: {"layers": len(net.layers), "imported": sum(loaded.imported[name].values()),
               "inputs": {n: in_layout(s, chosen.get(name, {}).get(n)) for n, s in net.inputs.items()},
               "outputs": net.outputs}
        for name, net in loaded.nets.items()}
    if json:
        print_json({"model": model, "file": out, "meta": loaded.meta, "nets": nets, "samples": samples,
                    "layouts": loaded.layouts, "states": states_json(loaded), "quantisation": plain_scales(loaded.quantisation),
                    "notes": loaded.notes})
        return
    print_tables(f"{out}: written from {model}")
    for name, net in nets.items():
        ins = ", ".join(f"{n} {s}" for n, s in net["inputs"].items())
        print_tables(printable(f"  {name:12s} {counted(net['layers'], 'layer'):>10s}   {ins} -> {', '.join(net['outputs'])}"))
    for name, kept in loaded.states.items():
        print_tables(printable(f"  state        {name} {kept.described(loaded.main.inputs[name])}"))
    if samples is not None:
        print(f"  calibrated   {counted(len(loaded.quantisation['main']), 'value')} on {counted(samples, 'sample')}")
    imported = ", ".join(f"{net['imported']} in {name}" for name, net in nets.items())
    print(f"layers as imported, before the passes: {imported}. The file has those that passes leave whatever the sizes are; "
          f"pathweave show {shlex.quote(out)} counts those that run at certain sizes.")
