"""Calibration: from samples to the scale of every f32 value that a quantised routine may hold.

The net runs in f32 on the samples, and the range of every value is kept (`ranges.py`), from which the scales follow
(`sharing.py`). Nothing of a sample outlives its turn: values become outputs of plans in groups that fit a limit, so that
big nets need several plans. A few samples are kept for a trial of the scales (`trial.py`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, OutOfMemoryError, RouteError
from ..meaning.roles import roles_of
from ..net.arguments import as_array, by_name
from ..net.border import of_caller
from ..net.floats import numbers_of, taken
from ..net.format import numpy_dtype
from ..net.net import Net, TensorSpec
from ..net.scales import Scale
from .bound import BoundNet
from .defaults import default_route
from .layouts import to_logical
from .plan import Plan
from .ranges import Ranges
from .routes import plan_route
from .sharing import Scales, scales_of
from .trial import SAMPLES, trial

if TYPE_CHECKING:
    from .session import Session

#: Bytes of the values that one plan hands out.
GROUP_BYTES = 128 << 20
_ALIGNMENT = 64


class CalibrationWarning(UserWarning):
    """The samples of a calibration have values that 8 bits cannot hold well, or one that is needed is missing."""


#: Said where a class allows quantised routines and no value has a scale: where none takes part, and where some do.
NONE_TAKES_PART = ("accuracy quantised is allowed, but no value has a scale, so that no quantised routine takes part: "
                   "calibrate the model first (model.calibrate(samples), or --calibrate of pathweave tune and import)")
AT_RUN_TIME = ("no calibration data: only routines that take their scales at run time are used; --calibrate SAMPLES "
               "(model.calibrate(samples)) adds the others")


def uncalibrated_note(bound: BoundNet, accuracy: str, threads: int) -> str:
    """What it means that no value has a scale where a class allows quantised routines: NONE_TAKES_PART, AT_RUN_TIME, or ""
    where a value has one or the class is another."""
    if accuracy != "quantised" or bound.scales:
        return ""
    flat = bound.flat
    try:
        found = any(c.accuracy == "quantised" for i in range(len(flat.places))
                    for c in flat.candidates(i, threads, accuracy=accuracy)[0])
    except RouteError:  # whoever chooses says it
        found = False
    return AT_RUN_TIME if found else NONE_TAKES_PART


def warn_uncalibrated(bound: BoundNet, accuracy: str, threads: int, stacklevel: int) -> None:
    """Warn where a class allows quantised routines, and none can take part since no value has a scale."""
    if uncalibrated_note(bound, accuracy, threads) == NONE_TAKES_PART:
        warnings.warn(NONE_TAKES_PART, CalibrationWarning, stacklevel=stacklevel + 1)


class Recorder:
    """Runs a bound net in f32 and takes every f32 value's range."""

    def __init__(self, bound: BoundNet, threads: int):
        self.bound = bound
        self._roles = roles_of(bound.net, bound.net.specs)
        self._sessions = [plan_route(default_route(part, threads), part, threads).session()
                          for part in map(bound.up_to, _groups(bound))]
        size = max((sum(_room(spec) for _, spec in _early(s.plan)) for s in self._sessions), default=0)
        self._memory = np.empty(size + _ALIGNMENT, np.uint8)

    def run(self, inputs: Mapping[str, np.ndarray], ranges: Ranges) -> None:
        """One sample."""
        for name, array in inputs.items():
            if self.bound.spec(name).dtype == "f32":
                ranges.add(name, array, self._roles[name])
        for session in self._sessions:
            for name, array in session.run(inputs, self._places(session)).items():
                ranges.add(name, array, self._roles[name])

    def _places(self, session: Session) -> dict[str, np.ndarray]:
        """Arrays for the outputs, in memory that all groups share; none for those whose sizes a run finds out."""
        places, at = {}, -self._memory.ctypes.data % _ALIGNMENT
        for name, spec in _early(session.plan):
            dtype = np.dtype(numpy_dtype(spec.dtype))
            places[name] = self._memory[at:at + spec.elements * dtype.itemsize].view(dtype).reshape(spec.shape)
            at += _room(spec)
        return places


def _early(plan: Plan) -> list[tuple[str, TensorSpec]]:
    """The outputs whose sizes are known before a run."""
    return [(name, spec) for name, spec in plan.outputs.items() if name not in plan.late]


def _room(spec: TensorSpec) -> int:
    """Bytes of an f32 value, rounded up."""
    return -(-4 * spec.elements // _ALIGNMENT) * _ALIGNMENT


def _groups(bound: BoundNet) -> Iterator[list[str]]:
    """The f32 values that layers make, in order, in groups of up to GROUP_BYTES (or one value)."""
    group: list[str] = []
    size = 0
    for layer in bound.layers:
        for value in layer.outputs:
            if bound.spec(value).dtype == "f32" and bound.spec(value).elements:
                if group and size + _room(bound.spec(value)) > GROUP_BYTES:
                    yield group
                    group, size = [], 0
                group.append(value)
                size += _room(bound.spec(value))
    if group:
        yield group


# ---- samples --------------------------------------------------------------------------------------------------------

class Samples:
    """Samples of which files and Pillow images go through `from_image` first, when their turn comes."""

    def __init__(self, samples: Iterable[Any], from_image: Callable[[Any], Mapping[str, Any]] | None):
        if isinstance(samples, (str, os.PathLike, Mapping)) or not hasattr(samples, "__iter__"):
            advice = ("read a file of arrays with numpy.load first, list the images of a folder, put a single image into a list"
                      if isinstance(samples, (str, os.PathLike)) else
                      f"give one of its arrays by name ({', '.join(samples)}), or a list of a dict by input name"
                      if hasattr(samples, "files") else "put a single one into a list")
            raise InputError(f"calibrate: expected an iterable of samples, got {type(samples).__name__}; {advice}")
        self.samples, self.from_image = samples, from_image

    def __len__(self) -> int:
        return len(self.samples) if isinstance(self.samples, Sized) else 0

    def __iter__(self) -> Iterator[Any]:
        for i, sample in enumerate(self.samples):
            image = isinstance(sample, (str, os.PathLike)) or hasattr(sample, "getexif")
            if not image:
                yield sample
            elif self.from_image is None:
                raise InputError(f"samples[{i}]: an image needs a preprocess net, which this model lacks; load it with "
                                 f"preprocess=..., or give arrays")
            else:
                yield self.from_image(sample)


def calibrate(net: Net, samples: Samples, threads: int, progress: Callable[[float, str], None] | None = None,
              layouts: Mapping[str, str] | None = None) -> tuple[dict[str, Scale], list[str]]:
    """Scales of a net's values, bound, from samples; and what 8 bits would lose on them, as sentences.

    `samples`: each an array for a net with one input, else a dict by name; floating point, finite, of the declared
    shapes, with or without the first dimension. `layouts`: in which they lie. Raises InputError, DTypeError naming the
    sample.
    """
    ranges, recorders, total, layouts = Ranges(), {}, len(samples), layouts or {}
    # Values may have other names at other shapes. Per set of names: the first bound net, and some of its samples.
    nets: dict[tuple, tuple[BoundNet, list[dict[str, np.ndarray]]]] = {}
    for i, sample in enumerate(samples):
        if progress:
            progress(i / total if total else 0.0, f"sample {i + 1}" + (f" of {total}" if total else ""))
        arrays = {n: np.ascontiguousarray(to_logical(a, layouts[n])) if n in layouts else a
                  for n, a in sample_arrays(net, f"samples[{i}]", sample, layouts).items()}
        key = tuple(a.shape for a in arrays.values())
        if key not in recorders:
            recorders = {key: Recorder(BoundNet.bind(net, {n: a.shape for n, a in arrays.items()}), threads)}
        recorder = recorders[key]
        bound, kept = nets.setdefault(tuple(recorder.bound.net.specs), (recorder.bound, []))
        if len(kept) < SAMPLES and bound.shapes == recorder.bound.shapes:
            kept.append({n: a.copy() for n, a in arrays.items()})
        recorder.run(arrays, ranges)
    if not nets:
        raise InputError("calibrate: expected at least one sample, got none; give inputs that are typical of what the "
                         "model will see, a hundred or so")
    recorders.clear()
    scales: dict[str, Scale] = {}
    notes: dict[str, None] = {}
    for bound, kept in nets.values():
        found = scales_of(bound, ranges)
        for value in bound.scales:  # the model states it
            found.scales.pop(value, None)
        scales.update(found.scales)
        notes.update(dict.fromkeys([*found.notes, *_doubts(bound, found, kept, threads)]))
    return scales, list(notes)


def _doubts(bound: BoundNet, found: Scales, samples: list[dict[str, np.ndarray]], threads: int) -> list[str]:
    """What a trial of the scales shows: outputs that lose much, and the values that may be the reason."""
    losses = trial(bound, found.scales, samples, threads)
    if not losses:
        return []
    return [f"with every layer in 8 bits, outputs differ from f32 by a relative error of {', '.join(map(str, losses))} on "
            f"{len(samples)} of the samples; check a tuned model with pathweave verify --data", *found.suspects]


def sample_arrays(net: Net, where: str, sample: Any, layouts: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays of a sample by input, checked, as a call takes them. Raises InputError, DTypeError."""
    from ..meaning.evaluate import match_arrays
    sample, arrays = by_name(where, net.inputs, sample), {}
    for name, spec in net.inputs.items():
        try:
            array = as_array(name, sample[name], spec)
        except InputError as e:
            raise type(e)(f"{where}, {e}") from e
        arrays[name] = array[None] if array.ndim == of_caller(spec, layouts.get(name)).rank - 1 else array
    try:
        match_arrays(net.inputs, layouts, {n: a.shape for n, a in arrays.items()})
    except InputError as e:
        raise InputError(f"{where}: {e}") from e
    try:
        for name, spec in net.inputs.items():
            arrays[name] = taken(f"{where}, input {name!r}", spec, arrays[name])
            if not np.isfinite(numbers_of(arrays[name], spec.dtype)).all():
                raise InputError(f"{where}, input {name!r}: expected finite numbers, got NaN or infinity among them; leave "
                                 f"such samples out")
    except MemoryError as e:
        raise OutOfMemoryError(f"{where}: no memory to look at it ({e}); give smaller samples") from e
    return arrays
