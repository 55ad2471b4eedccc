"""pathweave run: run a model on arrays and images."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..words import counted
from ._calibration import images_in
from ._errors import BadUse
from ._options import (
    Batch,
    Json,
    Layouts,
    MaxPixels,
    ModelPath,
    NarrowDouble,
    Routine,
    Shapes,
    States,
    Threads,
    bound_by_options,
    existing_file,
    load_model,
    restriction,
    writable_target,
)
from ._output import print_json, print_tables

ORDER = 50
#: States of which an example of --state is given.
MOST_NAMED = 4


def command(
    model: ModelPath,
    inputs: Annotated[list[str] | None, typer.Argument(
        metavar="INPUT...", show_default=False,
        help="Images, or a folder of them; .npy files in the order of the inputs, or NAME=FILE.npy; an .npz file, or "
             "NAME=FILE.npz:KEY; NAME=NUMBER.")] = None,
    random: Annotated[bool, typer.Option("--random", help="Random inputs from a fixed seed, of the sizes of --shape and "
                                         "--batch, for all but those that INPUT... gives by name.")] = False,
    shape: Shapes = None,
    batch: Batch = None,
    layout: Layouts = None,
    state: States = None,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="OUT.npz", help="Write all results here.",
                                            show_default=False)] = None,
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="How many classes to print per image.")] = 5,
    threads: Threads = None,
    routine: Routine = None,
    numbers: Annotated[int, typer.Option("--numbers", metavar="N", min=0, help="With --json, print the numbers of outputs that "
                                         "have at most so many; of all, a summary.")] = 4096,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also say what came of packed weights in the file.")] = False,
    narrow_double: NarrowDouble = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Run a model. Images go through its preprocess net; a postprocess net's labels and scores are printed.

    Inputs that are states begin with their initial values where no array is given.
    """
    import numpy as np
    writable_target(out, "results")
    if not random and not inputs:
        raise BadUse("run: expected INPUT... or --random; --random runs the model on random inputs, of sizes that --shape "
                     "gives")
    if not random and (shape or batch):
        raise BadUse("run: --shape and --batch are sizes of --random inputs; the arrays and images that are given have theirs")
    loaded = load_model(model, threads, narrow_double=narrow_double, layout=layout, state=state, shape=shape)
    feeds = [("random inputs", _random(loaded, shape, batch, inputs or []))] if random else _feeds(loaded, inputs or [])
    allowed = restriction(routine)
    results = [(name, _run(loaded, feed, allowed, max_pixels)) for name, feed in feeds]
    if out is not None:
        from ..files.model import atomic_writer
        from ..net.floats import bits_of
        arrays = {(key if len(results) == 1 else f"{i}.{key}"): value
                  for i, (_, values) in enumerate(results) for key, value in values.items()}
        with atomic_writer(out) as f:
            written: dict[str, Any] = {k: (v.astype(str) if v.dtype == object else bits_of(v)) for k, v in arrays.items()}
            np.savez(f, **written)
    if json:
        route = next(reversed(loaded.routes.values()), None)
        aim = {} if route is None else {"objective": route.objective, "sessions": route.sessions}
        print_json([{"input": name, **aim,
                     "outputs": {k: {"dtype": str(v.dtype), "shape": v.shape, **_contents(v, numbers)}
                                 for k, v in values.items()}} for name, values in results])
        return
    for name, values in results:
        print_tables(*_report(name, values, top))
    if out is not None:
        print(f"{out}: written")
    for note in loaded.notes if verbose else ():
        print_tables(note)


# ---- inputs ---------------------------------------------------------------------------------------------------------

def _random(model: Any, shape: list[str] | None, batch: int | None, given: list[str]) -> dict[str, Any]:
    import numpy as np

    from ..runtime.inputs import random_inputs
    fixed = _fixed(model, given)
    # Sizes that an initial value says; where it says none, those of the options are the sizes of zeros.
    known = {str(d): size for n, s in model.states.items()
             for d, size in zip(model.main.inputs[n].shape, s.begins(model.main.inputs[n]).shape)
             if isinstance(d, str) and isinstance(size, int)}
    found = random_inputs(bound_by_options(model, shape, batch, known))
    begins = {n: s.begins(model.main.inputs[n]) for n, s in model.states.items()}
    made = {n: np.zeros_like(a) if n in begins else a for n, a in found.items() if n not in begins or not begins[n].bound}
    return {**made, **fixed}


def _fixed(model: Any, texts: list[str]) -> dict[str, Any]:
    """Arrays by input that stand beside random ones. Raises BadUse for what is not NAME=NUMBER or NAME=FILE."""
    inputs = model.main.inputs
    for text in texts:
        name, equals, _ = text.partition("=")
        if not equals or name not in inputs:
            raise BadUse(f"run: {text}: with --random expected NAME=NUMBER or NAME=FILE.npy; the inputs are "
                         f"{', '.join(inputs)}")
    return _by_name(model, texts)[0]


def _feeds(model: Any, texts: list[str]) -> list[tuple[str, Any]]:
    """(what to call it, an image path or a dict of arrays) for every run: one per image, else one for all arrays."""
    texts = [file for t in texts for file in (images_in(t) if Path(t).is_dir() else [t])]
    images = [t for t in texts if _suffix(t) not in (".npy", ".npz") and _numeral(*t.partition("=")[::2]) is None]
    if images and len(images) < len(texts):
        raise BadUse(f"run: expected images or arrays, got both ({images[0]} and others); run them one after the other")
    if images:
        existing_file(images[0], "image")
        if "preprocess" not in model.nets:
            raise BadUse(f"{images[0]}: an image needs a preprocess net, and the model has none; attach one with "
                         f"pathweave import MODEL -o OUT.pw --preprocess JSON, or pass a .npy file")
        return [(t, str(existing_file(t, "image"))) for t in images]
    return [(" ".join(texts), _arrays(model, texts))]


def _suffix(text: str) -> str:
    name = text.rpartition("=")[2] if not Path(text).exists() else text
    file, colon, key = name.rpartition(":")
    return Path(file if colon and file.lower().endswith(".npz") else name).suffix.lower()


def _arrays(model: Any, texts: list[str]) -> dict[str, Any]:
    """Arrays by input name of the net that they feed: `preprocess` for uint8 images, else `main`."""
    arrays, loose, unused = _by_name(model, texts)
    wanted = [n for n in model.main.inputs if n not in model.states]
    free = [n for n in wanted if n not in arrays]
    if len(loose) > len(free):
        raise BadUse(f"run: {counted(len(loose), 'array')} without a name, and {counted(len(free), 'input')} left; "
                     f"the inputs are {', '.join(f'{n} {s}' for n, s in model.main.inputs.items())}")
    arrays.update(zip(free, loose))
    missing = [n for n in wanted if n not in arrays]
    if missing and not any(n not in model.main.inputs for n in arrays):
        raise BadUse(_missing(missing, unused))
    return arrays


def _by_name(model: Any, texts: list[str]) -> tuple[dict[str, Any], list[Any], dict[str, str]]:
    """Arrays by input name; those without a name; names that are no input's, with how the line names them."""
    arrays: dict[str, Any] = {}
    loose: list[Any] = []
    unused: dict[str, str] = {}
    known = list(dict.fromkeys([*model.main.inputs,
                                *(model.nets["preprocess"].inputs if "preprocess" in model.nets else ())]))
    for text in texts:
        name, equals, file = text.partition("=") if not Path(text).exists() else ("", "", text)
        if equals and name not in known:
            raise BadUse(f"{text}: {name!r} is no input; the inputs are {', '.join(known)}")
        number = _number(model, name, file) if equals else None
        found = [("", number)] if number is not None else _read(file if equals else text)
        if equals and len(found) > 1:
            raise BadUse(f"{text}: expected one array for {name!r}, got a file of {len(found)}: "
                         f"{', '.join(key for key, _ in found)}; say which, such as {text}:{found[0][0]}")
        for key, array in found:
            target = name if equals else key if key in known else ""
            if target:
                if target in arrays:
                    raise BadUse(f"{text}: the input {target!r} is given twice")
                arrays[target] = array
            elif not key:
                loose.append(array)
            else:
                unused[key] = f"{text}:{key}"
    return arrays, loose, unused


def _number(model: Any, name: str, text: str) -> Any:
    """An array that is full of the number of NAME=NUMBER; None where that is no number, or a file. Raises BadUse."""
    import numpy as np

    from ..net.floats import scalar
    from ..net.net import TensorSpec
    spec, value = model.main.inputs.get(name), _numeral(name, text)
    if spec is None or value is None:
        return None
    open_ = [str(d) for d in spec.shape if not isinstance(d, int)]
    if open_:
        raise BadUse(f"{name}={text}: a number is for an input whose sizes are known, and those of {name} ({spec}) are not; "
                     f"give {name}=FILE.npy")
    try:
        return np.full(spec.shape, scalar(f"{name}={text}", TensorSpec(spec.dtype, ()), value))
    except InputError as e:
        raise BadUse(str(e)) from e


def _numeral(name: str, text: str) -> int | float | None:
    """The number of NAME=NUMBER; None for what is none, or a file."""
    if not name or Path(text).exists():
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return None


def _missing(inputs: list[str], unused: dict[str, str]) -> str:
    """What to do about inputs that no array feeds. `unused`: arrays that are called otherwise -> how the line names them."""
    advice = (f"the arrays that are given are called {', '.join(unused)}; say which is meant, such as "
              f"{inputs[0]}={next(iter(unused.values()))}" if unused else "give NAME=FILE.npy or NAME=FILE.npz:KEY")
    what = f"the input {inputs[0]} is" if len(inputs) == 1 else f"the inputs {', '.join(inputs)} are"
    return f"run: {what} missing; {advice}"


def _read(text: str) -> list[tuple[str, Any]]:
    """(key, array) pairs of a file; the key is "" where the file or `:KEY` names a single array."""
    from ..files.arrays import read_arrays
    file, colon, key = text.rpartition(":")
    path = file if colon and file.lower().endswith(".npz") else text
    existing_file(path, "array")
    found = read_arrays(path)
    if path == text:
        return list(found.items())
    if key not in found:
        raise BadUse(f"{text}: there is no array {key!r} in {path}; it has {', '.join(found) or 'none'}")
    return [("", found[key])]


# ---- running --------------------------------------------------------------------------------------------------------

def _run(model: Any, feed: Any, allowed: Any, max_pixels: int | None) -> dict[str, Any]:
    from ..net.net import Model
    from ..runtime.model import LoadedModel
    preprocess = model.nets.get("preprocess")
    if preprocess is not None and (isinstance(feed, str) or set(feed) <= set(preprocess.inputs)):
        if allowed is None:
            return model.predict(feed, max_pixels=max_pixels)
        feed = model.image_inputs(feed, max_pixels=max_pixels)
    if model.states:
        feed = _with_states(model, feed)
    if allowed is not None:
        from ..runtime.defaults import default_route
        shapes = model.runnable().shapes_of(feed)
        model.add_route(default_route(model.bind(shapes), model.threads, restrict=allowed))
    rest = {name: net for name, net in model.nets.items() if name != "preprocess"}
    without = LoadedModel(Model(rest, model.meta, model.routes, model.quantisation, layouts=model.layouts), model.threads)
    return without.predict(dict(feed))


def _with_states(model: Any, feed: dict[str, Any]) -> dict[str, Any]:
    """Arrays of all inputs: states that are not given have the values that a session begins with. Raises BadUse."""
    from ..errors import OpenSizesError
    from ..meaning.evaluate import match_symbols
    from ..net.state import first_sizes
    from ..runtime.layouts import to_logical
    given = {n: to_logical(a, model.layouts[n]) if n in model.layouts else a for n, a in feed.items() if n in model.states}
    rest = {n: a for n, a in feed.items() if n not in model.states}
    shapes = model.runnable().shapes_of(rest)
    try:
        session = model.with_states(initial=given).session(shapes)
    except OpenSizesError as e:
        inputs = model.main.inputs
        known = {**first_sizes(e.symbols, inputs, model.states),
                 **match_symbols(inputs, {**shapes, **{n: a.shape for n, a in given.items()}})}
        missing = [n for n, s in model.states.items()
                   if n not in given and any(d in e.symbols for d in s.begins(inputs[n]).shape)]
        example = " ".join(f"--state {_zeros(n, model.states[n], inputs[n], known)}" for n in missing[:MOST_NAMED])
        example += " and so on" if len(missing) > MOST_NAMED else ""
        raise BadUse(f"run: the size of {', '.join(e.symbols)} is not known, with which states begin ({e.inputs}); say it, "
                     f"such as {example}, or give the first value, such as {missing[0]}=FILE.npy") from e
    return {**rest, **session.state()}


def _zeros(name: str, state: Any, spec: Any, known: Mapping[str, int]) -> str:
    """The argument of --state for a state that begins with zeros, of sizes by symbol."""
    sizes = (d if isinstance(d, int) else known.get(str(d), 1) for d in state.begins(spec).shape)
    return shlex.quote(f"{name}={state.output}:{'x'.join(map(str, sizes))}")


# ---- printing -------------------------------------------------------------------------------------------------------

def _contents(array: Any, most: int) -> dict[str, Any]:
    """What --json says of an output: a summary, and its numbers where there are at most so many."""
    return {"summary": _summary(array), **({"data": array} if array.size <= most else {})}


def _summary(array: Any) -> dict[str, Any]:
    import numpy as np
    if not (array.dtype.kind in "fiu" or array.dtype.name == "bfloat16") or not array.size:
        return {}
    wide = array.astype(np.float64)
    return {"minimum": wide.min(), "maximum": wide.max(), "mean": wide.mean()}


def _report(name: str, values: dict[str, Any], top: int) -> list[Any]:
    """Top classes where there are labels or a top-k, else a line per output."""
    from ..report.tables import Column, Table
    scores = next((v for v in values.values() if v.dtype.kind == "f"), None)
    picks = next((v for v in values.values() if v.dtype.kind in "iu"), None)
    labels = values.get("labels")
    if scores is not None and picks is not None and scores.shape == picks.shape and picks.ndim and picks.size:
        tables = []
        for i, (indices, numbers) in enumerate(zip(picks.reshape(-1, picks.shape[-1]), scores.reshape(-1, picks.shape[-1]))):
            words = labels.reshape(-1, picks.shape[-1])[i] if labels is not None else [""] * len(indices)
            rows = [{"rank": k + 1, "class": int(c), "label": str(w), "score": f"{s:.4f}"}
                    for k, (c, s, w) in enumerate(zip(indices, numbers, words))][:top]
            more = f" [{i}]" if picks.size > picks.shape[-1] else ""
            tables.append(Table([Column("rank", "rank", right=True), Column("class", "class", right=True),
                                 Column("label", "label"), Column("score", "score", right=True)], rows, f"{name}{more}"))
        return tables
    rows = []
    for key, v in values.items():
        facts = _summary(v)
        best = v.reshape(-1).argmax() if facts and v.ndim in (1, 2) and v.size == v.shape[-1] else None
        rows.append({"output": key, "dtype": str(v.dtype), "shape": "x".join(map(str, v.shape)) or "scalar",
                     "largest_at": best, **{k: f"{x:.6g}" for k, x in facts.items()}})
    return [Table([Column("output", "output"), Column("dtype", "dtype"), Column("shape", "shape"),
                   Column("minimum", "minimum", right=True), Column("maximum", "maximum", right=True),
                   Column("mean", "mean", right=True), Column("largest_at", "largest at", right=True)], rows, name)]
