"""pathweave import: a model of another framework becomes one `.pw` file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ._calibration import Calibrate, calibrate_with
from ._checking import Against, Check, CheckData, Difference, Limit, Samples, as_json, checked, shown, write_difference
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
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="OUT.pw", show_default=False,
                                            help="File to write; with --check it may be left out.")] = None,
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
    check: Check = False,
    data: CheckData = None,
    samples: Samples = None,
    limit: Limit = None,
    against: Against = None,
    difference: Difference = None,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> int:
    """Read a model, attach pre- and postprocess nets, calibrate it for 8-bit routines, write it as one file.

    With --check its outputs are compared with another engine's on the original file. Where one differs, the first layer that
    differs although its inputs agree is named, by its name in the original file."""
    _fitting(out, check, {"--data": data, "--samples": samples, "--limit": limit, "--against": against,
                          "--difference": difference})
    if out is not None:
        writable_target(out, "model")
    if difference is not None:
        writable_target(difference, "array")
    loaded, options = _loaded(model, preprocess, postprocess, external_root, shape, layout, state, narrow_double)
    found = checked(loaded, model, options, data, samples, limit, against, max_pixels) if check else None
    file = write_difference(found, model, difference) if found else None
    calibrated = calibrate_with(loaded, calibrate, max_pixels)
    if out is not None:
        loaded.save(out)
    if json:
        print_json({**_as_json(loaded, model, out, calibrated), **({"check": as_json(found, file)} if found else {})})
    else:
        if out is not None:
            _show(loaded, model, out, calibrated)
        if found:
            print_tables(*shown(found, not data, file))
    return int(found is not None and not found.ok)


def _fitting(out: str | None, check: bool, of_check: dict[str, Any]) -> None:
    """Raise BadUse for options that say nothing together."""
    if out is None and not check:
        raise BadUse("missing option --out (or -o): expected the file to write, such as --out model.pw, or --check")
    given = [option for option, value in of_check.items() if value is not None]
    if given and not check:
        raise BadUse(f"{given[0]}: it belongs to --check; give both, or neither")


def _loaded(model: str, preprocess: str | None, postprocess: str | None, external_root: str | None, shape: list[str] | None,
            layout: list[str] | None, state: list[str] | None, narrow_double: bool) -> tuple[Any, dict[str, Any]]:
    """The model, and the importer's options that it was read with. Raises BadUse."""
    for option, path in (("--preprocess", preprocess), ("--postprocess", postprocess)):
        if path is not None:
            existing_file(path, "pipeline", option)
    if external_root is not None and not Path(external_root).is_dir():
        raise BadUse(f"--external-root {cut(external_root)}: expected a folder that is there")
    options: dict[str, Any] = {} if external_root is None else {"external_root": external_root}
    loaded = load_model(model, None, preprocess, postprocess, narrow_double, layout, state, shape, **options)
    if shape:
        options["shapes"] = new_shapes(shape, loaded.main)
        loaded = load_model(model, None, preprocess, postprocess, narrow_double, layout, state, **options)
    return loaded, {**options, **({"narrow_double": True} if narrow_double else {})}


def _nets(loaded: Any) -> dict[str, dict[str, Any]]:
    """What is told of each net."""
    from ..net.border import in_layout
    chosen = {"main": loaded.layouts}
    return {
        name: {"layers": len(net.layers), "imported": sum(loaded.imported[name].values()),
               "inputs": {n: in_layout(s, chosen.get(name, {}).get(n)) for n, s in net.inputs.items()},
               "outputs": net.outputs}
        for name, net in loaded.nets.items()}


def _as_json(loaded: Any, model: str, out: str | None, samples: int | None) -> dict[str, Any]:
    from ..net.scales import plain_scales
    return {"model": model, "file": out, "meta": loaded.meta, "nets": _nets(loaded), "samples": samples,
            "layouts": loaded.layouts, "states": states_json(loaded), "quantisation": plain_scales(loaded.quantisation),
            "notes": loaded.notes}


def _show(loaded: Any, model: str, out: str, samples: int | None) -> None:
    from ..words import counted, printable
    nets = _nets(loaded)
    print_tables(f"{out}: written from {model}")
    for name, net in nets.items():
        ins = ", ".join(f"{n} {s}" for n, s in net["inputs"].items())
        print_tables(printable(f"  {name:12s} {counted(net['layers'], 'layer'):>10s}   {ins} -> {', '.join(net['outputs'])}"))
    for name, kept in loaded.states.items():
        print_tables(printable(f"  state        {name} {kept.described(loaded.main.inputs[name])}"))
    if samples is not None:
        print(f"  calibrated   {counted(len(loaded.quantisation['main']), 'value')} on {counted(samples, 'sample')}")
    several = len(nets) > 1
    told = [f"{counted(net['imported'], 'layer')} imported, {net['layers']} after optimisation" for net in nets.values()]
    print(f"{'; '.join(f'{n}: {t}' if several else t for n, t in zip(nets, told))}. `pathweave show {shlex.quote(out)}` lists "
          "them")
