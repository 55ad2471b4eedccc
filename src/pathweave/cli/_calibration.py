"""`--calibrate`, `--data`: samples from a file of arrays or a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..words import counted
from ._errors import BadUse
from ._output import progress

WHERE = "[NAME=]FILE.npz[:KEY]|FOLDER"
#: How an array says which samples it holds, as the help of options says it; docs/accuracy.md has the whole of it.
RULE = ("Arrays have the names of the inputs (or x=FILE.npz:KEY) and hold samples along their first dimension: [S,*shape], or "
        "[S*N,...] of an input [N,...]. An array of one sample, such as one number for an input without dimensions, is part "
        "of every sample.")

Calibrate = Annotated[str | None, typer.Option(
    "--calibrate", "-c", metavar=WHERE, show_default=False,
    help=f"Samples that find the scales of 8-bit values: arrays by input name, or a folder of images. {RULE}")]

Data = Annotated[str | None, typer.Option(
    "--data", "-d", metavar=WHERE, show_default=False,
    help=f"Inputs to try instead of random ones: arrays by input name, or a folder of images. {RULE}")]

SeveralData = Annotated[list[str] | None, typer.Option(
    "--data", "-d", metavar=WHERE, show_default=False,
    help=f"Inputs to try instead of random ones: arrays by input name, or a folder of images; may be repeated. {RULE}")]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def calibrate_with(model: Any, path: str | None, max_pixels: int | None = None) -> int | None:
    """Calibrate a model with the samples of a path, if there is one; gives their number. Raises BadUse, InputError."""
    if path is None:
        return None
    samples = _samples(model, path, "--calibrate")
    with progress("calibrating") as tell:
        model.calibrate(samples, progress=tell, max_pixels=max_pixels)
    return len(samples)


def data(model: Any, path: str, max_pixels: int | None = None) -> tuple[int, Iterator[dict[str, Any]]]:
    """The number of samples of a path, and for each the main net's inputs. Raises BadUse, InputError."""
    from ..runtime.calibrate import sample_arrays
    samples = _samples(model, path, "--data")
    return len(samples), (
        sample_arrays(model.main, f"{path}[{i}]", model.image_inputs(s, max_pixels=max_pixels) if isinstance(s, str) else s,
                      model.layouts)
        for i, s in enumerate(samples))


def all_data(model: Any, paths: list[str], most: int | None,
             max_pixels: int | None = None) -> tuple[int, Iterator[dict[str, Any]]]:
    """As `data`, of several paths one after the other, `most` samples at most. Raises BadUse where there is none."""
    found = [data(model, path, max_pixels) for path in paths]
    count = sum(n for n, _ in found)
    count = min(count, most or count)
    if not count:
        raise BadUse(f"--data {paths[0]}: it has no sample")
    return count, islice(chain.from_iterable(arrays for _, arrays in found), count)


def first_sample(model: Any, path: str, bound: Any, max_pixels: int | None = None) -> dict[str, Any]:
    """Inputs of a bound net from the first samples of a path: as many as its batch has. Raises BadUse, InputError."""
    import numpy as np
    count, samples = data(model, path, max_pixels)
    rows = {n: s.shape[0] for n, s in bound.inputs.items() if s.shape}
    taken: list[dict[str, Any]] = []
    while not taken or any(sum(len(t[n]) for t in taken) < rows[n] for n in rows):
        one = next(samples, None)
        if one is None:
            raise BadUse(f"--data {path}: it has {counted(count, 'sample')}, fewer than the batch {max(rows.values())}")
        taken.append(one)
    return {n: np.concatenate([t[n] for t in taken])[:rows[n]] if n in rows else a for n, a in taken[0].items()}


def _samples(model: Any, path: str, option: str) -> Any:
    source = Path(path)
    if source.is_dir():
        return _images(model, source, option)
    name, file, key = _parts(path)
    if Path(file).exists():
        return _Rows(model, f"{option} {path}", _named(model, f"{option} {path}", name, file, key))
    raise BadUse(f"{option} {path}: no such file; expected a .npz or .npy file, or a folder of images")


def _parts(text: str) -> tuple[str, str, str]:
    """Name, file and key of [NAME=]FILE[.npz:KEY]."""
    if Path(text).exists():
        return "", text, ""
    path, _, key = text.rpartition(":")
    if not path.lower().endswith(".npz"):
        path, key = text, ""
    name, equals, file = path.partition("=")
    return (name, file, key) if equals and not Path(path).exists() else ("", path, key)


def images_in(folder: str | Path, option: str = "") -> list[str]:
    """Paths of the images in a folder, by name. Raises BadUse where there is none."""
    files = sorted(str(f) for f in Path(folder).iterdir() if f.suffix.lower() in _IMAGES and f.is_file())
    if not files:
        raise BadUse(f"{option}{folder}: expected images in that folder ({' '.join(_IMAGES)}), found none")
    return files


def _images(model: Any, folder: Path, option: str) -> list[str]:
    files = images_in(folder, f"{option} ")
    if "preprocess" not in model.nets:
        raise BadUse(f"{option} {folder}: images need a preprocess net, which the model lacks; attach one with "
                     f"pathweave import --preprocess JSON, or give a .npz file")
    return files


class _Rows:
    """Samples of arrays by input: along a first dimension of their own, else so many rows at a time as the input has."""

    def __init__(self, model: Any, where: str, arrays: dict[str, Any]):
        from ..net.border import of_caller
        self.arrays = arrays
        self.rows: dict[str, int | None] = {}  # of a sample; None: the array has a dimension of samples
        counts = {}
        for name, spec in model.main.inputs.items():
            declared, array = of_caller(spec, model.layouts.get(name)), arrays[name]
            if array.ndim == declared.rank + 1:
                self.rows[name], counts[name] = None, len(array)
            elif not declared.rank:
                self.rows[name], counts[name] = 1, 1
            else:
                if not array.ndim:
                    raise BadUse(f"{where}: array {name!r} is a single number; expected {declared}, or samples of it along "
                                 "another first dimension")
                rows = declared.shape[0] if isinstance(declared.shape[0], int) else 1
                self.rows[name], counts[name] = rows, len(array) // max(1, rows)
        several = {n: c for n, c in counts.items() if c != 1}
        self.count = min(several.values(), default=1)
        self.every = {n for n in counts if n not in several}  # one sample, part of each
        if len(set(several.values())) > 1:
            raise BadUse(f"{where}: expected as many samples of every input, or one, got "
                         f"{', '.join(f'{c} of {n}' for n, c in counts.items())}")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for i in range(self.count):
            yield {n: self._one(n, 0 if n in self.every else i) for n in self.arrays}

    def _one(self, name: str, i: int) -> Any:
        import numpy as np
        array, rows = self.arrays[name], self.rows[name]
        if rows is None:
            return np.asarray(array[i])
        return array[i * rows:(i + 1) * rows] if array.ndim else array


def _named(model: Any, where: str, name: str, file: str, key: str) -> dict[str, Any]:
    """Arrays by input: those of that name, one that NAME= or :KEY chose, or the only one of a model with one input that has no
    name. Raises BadUse."""
    from ..files.arrays import read_arrays
    try:
        found = read_arrays(file)
    except InputError as e:
        raise BadUse(f"{where}: {e}") from e
    inputs = list(model.main.inputs)
    if name and name not in inputs:
        raise BadUse(f"{where}: {name!r} is no input; the inputs are {', '.join(inputs)}")
    if key and key not in found:
        raise BadUse(f"{where}: there is no array {key!r} in {file}; it has {', '.join(found) or 'none'}")
    if name and not key and len(found) != 1:
        raise BadUse(f"{where}: expected one array for {name!r}, got a file of {len(found)}; say which, such as "
                     f"{name}={file}:{next(iter(found), 'KEY')}")
    chosen = key or ("" if "" in found else next(iter(found), "") if name else None)
    if chosen is not None and (name or len(inputs) == 1):
        found = {**found, name or inputs[0]: found[chosen]}
    if set(inputs) <= set(found):
        return {n: found[n] for n in inputs}
    listed = ", ".join(f"{n or 'one without a name'} {a.dtype}{list(a.shape)}" for n, a in found.items())
    missing = next(n for n in inputs if n not in found)
    other = next((n for n in found if n and n not in inputs), None)
    raise BadUse(f"{where}: expected arrays of samples named {', '.join(f'{n} ({s})' for n, s in model.main.inputs.items())}"
                 f", got {listed or 'none'}" + (f"; say which is meant, such as {missing}={file}:{other}" if other else ""))
