"""`--calibrate`, `--data`: samples from a file of arrays or a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..words import counted
from ._errors import BadUse
from ._output import progress

Calibrate = Annotated[str | None, typer.Option(
    "--calibrate", "-c", metavar="FILE.npz|FOLDER", show_default=False,
    help="Samples that find the scales of 8-bit values: arrays [N,...] by input name, or a folder of images.")]

Data = Annotated[str | None, typer.Option(
    "--data", "-d", metavar="FILE.npz|FOLDER", show_default=False,
    help="Inputs to try instead of random ones: arrays [N,...] by input name, or a folder of images.")]

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


def first_sample(model: Any, path: str, bound: Any, max_pixels: int | None = None) -> dict[str, Any]:
    """Inputs of a bound net from the first samples of a path: as many as its batch has. Raises BadUse, InputError."""
    import numpy as np
    count, samples = data(model, path, max_pixels)
    rows = {n: s.shape[0] if s.shape else 1 for n, s in bound.inputs.items()}
    taken: list[dict[str, Any]] = []
    batched = [n for n, s in bound.inputs.items() if s.shape]  # a single number has no rows
    while not taken or any(sum(len(t[n]) for t in taken) < rows[n] for n in batched):
        one = next(samples, None)
        if one is None:
            raise BadUse(f"--data {path}: it has {counted(count, 'sample')}, fewer than the batch {max(rows.values())}")
        taken.append(one)
    return {n: np.concatenate([t[n] for t in taken])[:rows[n]] if n in batched else taken[0][n] for n in rows}


def _samples(model: Any, path: str, option: str) -> Any:
    source = Path(path)
    if source.is_dir():
        return _images(model, source, option)
    if source.exists():
        return _Rows(model, path, option)
    raise BadUse(f"{option} {path}: no such file; expected a .npz or .npy file, or a folder of images")


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
    """Samples along the first dimension of arrays, as many rows at a time as the model's inputs have. An input that is a
    single number gets one number of its array per sample, or the same one always where the array is a single number."""

    def __init__(self, model: Any, path: str, option: str):
        self.arrays = _matched(model, path, option)
        self.rows = {n: s.shape[0] if s.shape and isinstance(s.shape[0], int) else 1
                     for n, s in model.main.inputs.items()}
        self.numbers = {n for n, s in model.main.inputs.items() if not s.shape}
        counts = {n: a.shape[0] // self.rows[n] for n, a in self.arrays.items() if a.ndim}
        self.count = min(counts.values(), default=1)
        if len(set(counts.values())) > 1:
            raise BadUse(f"{option} {path}: expected as many samples of every input, got "
                         f"{', '.join(f'{c} of {n}' for n, c in counts.items())}")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for i in range(self.count):
            yield {n: self._taken(n, a, i) for n, a in self.arrays.items()}

    def _taken(self, name: str, array: Any, i: int) -> Any:
        if name in self.numbers:
            return array[i, ...] if array.ndim else array
        return array[i * self.rows[name]:(i + 1) * self.rows[name]]


def _matched(model: Any, path: str, option: str) -> dict[str, Any]:
    """Arrays by input: those of that name, or the only one that fits where the model has one input."""
    from ..files.arrays import read_arrays
    from ..net.border import of_caller
    from ..net.floats import HALVES
    from ..net.format import numpy_dtype
    try:
        found = read_arrays(path)
    except InputError as e:
        raise BadUse(f"{option} {e}") from e
    inputs = model.main.inputs
    if set(inputs) <= set(found):
        return {n: _several(f"{option} {path}", n, found[n], s) for n, s in inputs.items()}
    if len(inputs) == 1:
        ((name, spec),) = inputs.items()
        types = (numpy_dtype(spec.dtype), *(("float32",) if spec.dtype in HALVES else ()))
        rank = of_caller(spec, model.layouts.get(name)).rank
        fitting = [a for a in found.values() if a.ndim == rank and a.dtype in types]
        if len(fitting) == 1:
            return {name: _several(f"{option} {path}", name, fitting[0], spec)}
    listed = ", ".join(f"{n or 'one without a name'} {a.dtype}{list(a.shape)}" for n, a in found.items())
    raise BadUse(f"{option} {path}: expected arrays of samples named {', '.join(f'{n} ({s})' for n, s in inputs.items())}"
                 f", got {listed or 'none'}")


def _several(where: str, name: str, array: Any, spec: Any) -> Any:
    if not array.ndim and spec.shape:
        raise BadUse(f"{where}: array {name!r} is a single number; expected samples along its first dimension")
    return array
