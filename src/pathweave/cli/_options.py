"""Arguments and options that several commands share, and what they mean."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Error, NoRankError, OpenSizesError
from ..net.layouts import LAYOUTS
from ..words import counted
from ._errors import BadUse

if TYPE_CHECKING:
    from ..net.objective import Aim
    from ..runtime.model import LoadedModel

ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help="A model: .pw, .onnx, or another format that is known.",
                                          show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, max=1024, metavar="N",
                                             help="Threads per call; default: the processors this process may use.",
                                             show_default=False)]
Shapes = Annotated[list[str] | None, typer.Option(
    "--shape", "-s", metavar="NAME=1x3x224x224", show_default=False,
    help="Shape of an input, or size of a symbol (N=4); may be repeated. NAME= may be left out for a single input.")]
Layouts = Annotated[list[str] | None, typer.Option(
    "--layout", metavar="NAME=LAYOUT", show_default=False,
    help="Layout of a call's arrays of an input or output, such as x=nhwc; may be repeated. NAME= may be left out for a single "
         f"input. LAYOUT is one of {', '.join(LAYOUTS)}.")]
States = Annotated[list[str] | None, typer.Option(
    "--state", metavar="INPUT=OUTPUT", show_default=False,
    help="Let an input get, in every call of a session, the value that an output had in the call before, zeros at first; may "
         "be repeated. INPUT=OUTPUT:1x8x0x64 says the shape of the zeros.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, metavar="N", show_default=False,
                                           help="First dimension of every input.")]
Routine = Annotated[list[str] | None, typer.Option(
    "--routine", "-r", metavar="DESC", show_default=False,
    help="Allow only these routines, such as cpu:f32:nhwc, conv2/winograd4@2..5 (where layers 2 to 5 are convolutions), naive; "
         "may be repeated.")]
Accuracy = Annotated[str, typer.Option("--accuracy", metavar="CLASS",
                                       help="Least accurate class that may be used: strict, f32, reduced, quantised.")]
Budget = Annotated[float, typer.Option("--budget", "-b", min=0.0, metavar="SECONDS",
                                       help="Stop measuring after this time, earlier runs included; what was measured is "
                                            "kept.")]
Objective = Annotated[str, typer.Option("--objective", metavar="WHAT",
                                        help="What counts: latency, the time of one call; throughput, calls per second of "
                                             "--sessions that run at the same time on one thread each.")]
Sessions = Annotated[int | None, typer.Option("--sessions", min=1, max=1024, metavar="N", show_default=False,
                                              help="With --objective throughput: sessions that run at the same time; default: "
                                                   "as many as --threads.")]
NarrowDouble = Annotated[bool, typer.Option("--narrow-double", help="Compute what an ONNX model has in float64 in float32.")]
MaxPixels = Annotated[int | None, typer.Option("--max-pixels", min=1, metavar="N", show_default=False,
                                               help="Pixels that an image may have; default: 100 million.")]
OriginalOnnx = Annotated[str | None, typer.Option(
    "--onnx", metavar="FILE", show_default=False,
    help="The ONNX file that MODEL was made from, for engines that read ONNX (not needed when MODEL is one).")]


#: Inputs whose shapes an example of --shape has at most.
MOST_SHAPES = 4
#: What stands between the sizes of `--shape`.
_SEPARATORS = re.compile("[x×,]", re.IGNORECASE)
#: Options of importers: the option of a command, and why a .pw file does not take it.
_OF_ORIGINALS = {
    "narrow_double": ("--narrow-double", "whose element types were chosen when it was imported"),
    "shapes": ("--shape", "and import can change sizes only where it reads the original, such as the ONNX file"),
    "external_root": ("--external-root", "which holds all its weights"),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__
        print(f"pathweave {__version__}")
        raise typer.Exit(0)


def common(
    plugin: Annotated[list[str] | None, typer.Option("--plugin", metavar="LIBRARY", show_default=False,
                                                     help="Open a device library first; may be repeated.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors (anywhere on the line).")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show tables whole, however narrow the terminal (anywhere on the "
                                       "line).")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True,
                                          callback=_print_version)] = False,
) -> None:
    """Make trained networks as fast as this machine allows, and show how that was chosen."""
    for path in plugin or ():
        from ..runtime.devices import open_plugin
        existing_file(path, "device library", "--plugin")
        open_plugin(path)


def load_model(path: str, threads: int | None = None, preprocess: str | None = None, postprocess: str | None = None,
               narrow_double: bool = False, layout: list[str] | None = None, state: list[str] | None = None,
               shape: list[str] | None = None, **options: Any) -> LoadedModel:
    """The model of a path, with `--layout`, `--state` and the importer's `options`; inputs that have no rank get that of
    `--shape`. A path that is not there, or is a folder, is bad use; a damaged file is a failure."""
    existing_file(path, "model")
    _warn_of_threads(threads)
    from ..importers import is_own
    from ..runtime.model import load
    if narrow_double:
        options["narrow_double"] = True
    unfit = next((name for name in _OF_ORIGINALS if name in options), None)
    if unfit is not None and is_own(path):
        option, why = _OF_ORIGINALS[unfit]
        raise BadUse(f"{option}: {cut(path)} is a .pw model, {why}; import the original again with this option")
    try:
        loaded = load(path, preprocess, postprocess, threads=threads, **options)
    except NoRankError as e:
        options["shapes"] = {**options.get("shapes", {}), **_with_ranks(path, e.inputs, shape or [])}
        loaded = load(path, preprocess, postprocess, threads=threads, **options)
    loaded = with_layouts(loaded, layout) if layout else loaded
    return with_states(loaded, state) if state else loaded


def _with_ranks(path: str, inputs: list[str], texts: list[str]) -> dict[str, list[str]]:
    """Shapes for inputs without a rank: as many symbols as `--shape` has sizes. Raises BadUse where it has none."""
    given = {name if equals else inputs[0]: sizes for name, equals, sizes in (t.rpartition("=") for t in texts)
             if equals or len(inputs) == 1}
    if missing := [name for name in inputs if name not in given]:
        options = " ".join(f"--shape {shlex.quote(n)}=1x3x224x224" for n in missing)
        raise BadUse(f"{cut(path)}: {', '.join(map(repr, missing))}: no declared rank; give the shape, such as {options}, or "
                     f"write a model that has one: pathweave import {shlex.quote(path)} {options.replace('=1x', '=Nx')} "
                     "--out model.pw")
    return {name: [f"{name}_{i}" for i in range(len(_SEPARATORS.split(given[name])))] for name in inputs}


def _warn_of_threads(threads: int | None) -> None:
    """Warn of more threads than processors: they wait for each other in every step."""
    if threads is None:
        return
    from ..runtime.native import native
    usable = native().usable_processors()
    if threads > usable:
        warnings.warn(f"--threads {threads}: this process may use {counted(usable, 'processor')}; threads beyond that wait for "
                      f"each other in every step; --threads {usable} is as many as it can use", stacklevel=2)


def with_layouts(loaded: LoadedModel, texts: list[str]) -> LoadedModel:
    """A model with the layouts of `--layout` arguments. Raises BadUse."""
    from ..errors import InputError
    layouts = {}
    for text in texts:
        name, equals, layout = text.rpartition("=")
        if not equals:
            if len(loaded.main.inputs) != 1:
                raise BadUse(f"--layout {cut(text)}: the model has the inputs {', '.join(loaded.main.inputs)}; say which, such "
                             f"as --layout {next(iter(loaded.main.inputs), 'x')}=nhwc")
            name = next(iter(loaded.main.inputs))
        layouts[name] = layout
    try:
        return loaded.with_layouts(layouts)
    except InputError as e:
        raise BadUse(f"--layout {cut(' '.join(texts))}: {str(e).removeprefix('layouts: ')}") from e


def with_states(loaded: LoadedModel, texts: list[str]) -> LoadedModel:
    """A model with the states of `--state` arguments. Raises BadUse."""
    from ..errors import InputError
    from ..net.state import State
    states: dict[str, str | State | None] = {}
    for text in texts:
        ends = [i for i, c in enumerate(text) if c == "="]
        if not ends:
            raise BadUse(f"--state {cut(text)}: expected INPUT=OUTPUT; the inputs are {', '.join(loaded.main.inputs)}, the "
                         f"outputs {', '.join(loaded.main.outputs)}")
        at = next((i for i in ends if text[:i] in loaded.main.inputs), ends[0])
        name, output = text[:at], text[at + 1:]
        value, colon, sizes = output.rpartition(":")
        shape = None
        if output not in loaded.main.outputs and value in loaded.main.outputs:
            if not re.fullmatch(r"[0-9]+(x[0-9]+)*", sizes):
                raise BadUse(f"--state {cut(text)}: expected sizes of 0 or more joined by x behind {value}:, such as "
                             f"{value}:1x8x0x64, got {cut(sizes)!r}")
            output, shape = value, tuple(map(int, sizes.split("x")))
        states[name] = State(output, None, shape)
    try:
        return loaded.with_states(states)
    except InputError as e:
        raise BadUse(f"--state {cut(' '.join(texts))}: {str(e).removeprefix('states: ')}") from e


def states_json(loaded: LoadedModel) -> dict[str, dict[str, Any]]:
    """The states of a model as `--json` prints them: what is taken, and with what it begins."""
    return {name: state.to_json(loaded.main.inputs[name]) for name, state in loaded.states.items()}


def load_bound(path: str, threads: int | None, shape: list[str] | None, batch: int | None = None,
               narrow_double: bool = False, layout: list[str] | None = None) -> tuple[LoadedModel, Any]:
    """The model of a path with `--layout`, and its net bound to `--shape` and `--batch`. Raises BadUse."""
    loaded = load_model(path, threads, narrow_double=narrow_double, layout=layout, shape=shape)
    return loaded, bound_by_options(loaded, shape, batch)


def bound_by_options(loaded: Any, shape: list[str] | None, batch: int | None = None,
                     known: dict[str, int] | None = None) -> Any:
    """A model's main net bound to `--shape`, `--batch` and sizes that are `known`, by symbol; where none of them is given, to
    the shapes that the model was tuned for, if its own leave sizes open. Raises BadUse that names the options for what is
    left open."""
    try:
        given = parse_shapes(shape, loaded.main)
        return loaded.bind(batch_shapes(batch, {**known, **(given or {})} if known else given, loaded.main))
    except OpenSizesError as e:
        tuned = None if shape or batch or known else _tuned_for(loaded)
        if tuned is not None:
            return tuned
        raise BadUse(f"the size of {', '.join(e.symbols)} is not known ({e.inputs}); give it, such as "
                     f"{_sizes_missing(e.symbols, loaded.main.inputs, batch or 1)}") from e


def _sizes_missing(symbols: list[str], inputs: Any, batch: int) -> str:
    """Arguments of --shape for symbols: the shapes of the inputs that have them, where these are few, or sizes one by one."""
    sizes = {d: batch if axis == 0 else 16 for spec in inputs.values() for axis, d in reversed([*enumerate(spec.shape)])}
    shapes = [f"{n}={'x'.join(str(d if isinstance(d, int) else sizes[d]) for d in spec.shape)}"
              for n, spec in inputs.items() if any(s in spec.shape for s in symbols)]
    shapes = shapes if len(shapes) <= MOST_SHAPES else []
    ways = [" ".join(f"--shape {shlex.quote(text)}" for text in texts)
            for texts in (shapes, [f"{s}={sizes.get(s, 16)}" for s in symbols]) if texts]
    return ", or ".join(ways)


def _tuned_for(loaded: Any) -> Any:
    """The main net at the shapes of the newest route; None where there is no route, or none that says for which it is."""
    route = next(reversed(loaded.routes.values()), None)
    if route is None or not route.shapes:
        return None
    try:
        return loaded.bind(route.shapes)
    except Error:  # a route of other shapes than the model has now
        return None


def stored_profile(bound: Any, threads: int, sessions: int = 1) -> Any:
    """What the store knows about a net on this machine, beside so many sessions at the same time."""
    from ..profiling.protocol import of_store
    from ..profiling.store import Store
    with Store.open() as store:
        return of_store(store, bound, threads, sessions)


def existing_file(path: str, what: str, option: str = "") -> Path:
    """The path of a file that is there. `option`: the one that names it, for the message. Raises BadUse."""
    from ..words import meant_file
    file = Path(path)
    path = f"{option} {cut(path)}".strip()
    article = "an" if what[0] in "aeiouAEIO" else "a"
    try:
        if file.is_dir():
            models = sorted(p.name for p in file.iterdir() if p.suffix in (".onnx", ".pw")) if what == "model" else []
            raise BadUse(f"{path}: expected {article} {what} file, got a folder"
                         + (f"; give a file in it: {', '.join(models[:4])}" if models else ""))
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise BadUse(f"{path}: no such file; expected {article} {what} file{meant_file(file)}") from None
    except (OSError, ValueError) as e:  # a name that is too long, holds a zero byte, or may not be looked at
        raise BadUse(f"{path}: {getattr(e, 'strerror', None) or e}; expected the path of {article} {what} file") from None
    return file


def cut(text: str) -> str:
    """A text as an error shows it, cut to a readable length."""
    return text if len(text) <= 120 else f"{text[:60]}...{text[-40:]}"


def writable_target(path: str | None, what: str, option: str = "--out") -> None:
    """Raise BadUse when a file could never be written there, before long work begins."""
    if path is None:
        return
    target = Path(path)
    try:
        folder = target.absolute().parent
        fine = not target.is_dir() and folder.is_dir() and os.access(folder, os.W_OK)
        with contextlib.suppress(FileNotFoundError):
            target.lstat()
    except (OSError, ValueError) as e:
        raise BadUse(f"{option} {cut(path)}: the {what} cannot be written there ({getattr(e, 'strerror', None) or e}); "
                     "choose another name") from None
    if not fine:
        raise BadUse(f"{option} {path}: the {what} cannot be written there; choose a file in a writable folder that exists")
    if what == "model":
        from ..errors import InputError
        from ..files.model import check_name
        try:
            check_name(path)
        except InputError as e:
            raise BadUse(f"{option} {e}") from e


def parse_shapes(texts: list[str] | None, net: Any) -> dict[str, Any] | None:
    """`--shape` arguments as `shapes` of a model: input name -> shape, symbol -> size. Raises BadUse."""
    if not texts:
        return None
    return {name: shape if name in net.inputs else shape[0] for name, shape in _named_shapes(texts, net, symbols=False)}


def new_shapes(texts: list[str], net: Any) -> dict[str, tuple[int | str, ...]]:
    """`--shape` arguments of `import` as the importer's `shapes`: sizes and symbols by input name. Raises BadUse."""
    given = dict(_named_shapes(texts, net, symbols=True))
    sizes = {name: shape[0] for name, shape in given.items() if name not in net.inputs}
    return {name: given.get(name) or tuple(sizes.get(d, d) for d in spec.shape) for name, spec in net.inputs.items()
            if name in given or any(d in sizes for d in spec.shape)}


def _named_shapes(texts: list[str], net: Any, symbols: bool) -> Iterator[tuple[str, tuple[int | str, ...]]]:
    """(input or symbol, shape) of `--shape` arguments; a symbol has one size. `symbols`: shapes may hold some."""
    known = {d for spec in net.inputs.values() for d in spec.shape if isinstance(d, str)}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        if not equals:
            if len(net.inputs) != 1:
                raise BadUse(f"--shape {text}: the model has the inputs {', '.join(net.inputs)}; say which, such as "
                             f"--shape {next(iter(net.inputs))}={text}")
            name = next(iter(net.inputs))
        if name not in net.inputs and name not in known:
            listed = ", ".join(f"{n} {s}" for n, s in net.inputs.items())
            raise BadUse(f"--shape {text}: {name!r} is neither an input nor a symbol; the inputs are {listed or 'none'}"
                         f"{'; write ' * bool(listed)}{_example(net, known)}")
        shape = _sizes(text, sizes, symbols and name in net.inputs, name, net.inputs.get(name))
        if name not in net.inputs and len(shape) != 1:
            raise BadUse(f"--shape {text}: {name!r} is a symbol; expected one size, such as {name}=4")
        yield name, shape


def _sizes(text: str, sizes: str, symbols: bool, name: str, spec: Any) -> tuple[int | str, ...]:
    """The sizes of one argument for an input, or, where `spec` is None, for a symbol."""
    parts = [p.strip() for p in _SEPARATORS.split(sizes)]
    if not all(p.isdecimal() or symbols and p.isidentifier() for p in parts):
        wanted = "one size" if spec is None else \
            f"sizes{' or symbols' if symbols else ''} joined by x"
        raise BadUse(f"--shape {text}: expected {wanted}, such as {_sized(name, spec)}, got {sizes!r}")
    return tuple(int(p) if p.isdecimal() else p for p in parts)


def _sized(name: str, spec: Any) -> str:
    """An argument of --shape for an input, or, where `spec` is None, for a symbol: `x=1x3x224x224`, `batch=4`."""
    if spec is None:
        return f"{name}=4"
    return f"{name}={'x'.join(str(d) if isinstance(d, int) else '1' for d in spec.shape)}"


def _example(net: Any, symbols: set[str]) -> str:
    """Arguments of --shape that a net takes."""
    return " or ".join([*(_sized(s, None) for s in sorted(symbols)[:1]),
                        *(_sized(name, spec) for name, spec in list(net.inputs.items())[:1])])


def batch_shapes(batch: int | None, shapes: dict[str, Any] | None, net: Any) -> dict[str, Any] | None:
    """Shapes with the first dimension of every input set. Raises BadUse where the model fixes another one."""
    if batch is None:
        return shapes
    shapes = dict(shapes or {})
    for name, spec in net.inputs.items():
        if not spec.shape or name in shapes:
            continue
        first = spec.shape[0]
        if isinstance(first, str):
            shapes[first] = batch
        elif first != batch:
            raise BadUse(f"--batch {batch}: input {name} is {spec}, its batch is fixed; export the model with a free batch")
    return shapes


def restriction(texts: list[str] | None) -> Any:
    """`--routine` descriptors as a restriction of candidates, or None. Raises RestrictionError for one that cannot be read."""
    if not texts:
        return None
    from ..runtime.descriptor import Restriction
    from ..runtime.devices import devices
    return Restriction(texts, [d["name"] for d in devices()])


def aim_of(loaded: LoadedModel, objective: str, sessions: int | None, threads: int | None) -> Aim:
    """What `--objective`, `--sessions` and `--threads` ask for. Raises BadUse."""
    from ..errors import InputError
    try:
        return loaded.aim(objective, sessions, threads)
    except InputError as e:
        raise BadUse(f"--{e}") from e


def check_accuracy(accuracy: str) -> str:
    """The accuracy class. Raises BadUse for an unknown one."""
    from ..errors import InputError
    from ..net.accuracy import accuracy_rank
    try:
        accuracy_rank(accuracy)
    except InputError as e:
        raise BadUse(f"--{e}") from e
    return accuracy
