"""Calibration: from samples to the scale of every f32 value that a quantised routine may hold.

The net runs in f32 on the samples, and the smallest and largest number of every value are kept. Nothing of a sample
outlives its turn: values become outputs of plans in groups that fit a limit, so that big nets need several plans.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from ..errors import DTypeError, InputError
from ..net.format import numpy_dtype
from ..net.net import Layer, Net
from ..net.scales import Scale
from .bound import BoundNet
from .defaults import default_route
from .routes import plan_route
from .session import as_array

#: Bytes of the values that one plan hands out.
GROUP_BYTES = 128 << 20
_ALIGNMENT = 64


class Ranges:
    """Smallest and largest number of every value so far; NaN once one of them was NaN."""

    def __init__(self) -> None:
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}

    def add(self, value: str, array: np.ndarray) -> None:
        """Take an array of a value in."""
        if array.size:
            # NumPy's minimum, unlike Python's, keeps a NaN.
            self.low[value] = float(np.minimum(self.low.get(value, np.inf), array.min()))
            self.high[value] = float(np.maximum(self.high.get(value, -np.inf), array.max()))

    def scale(self, values: Iterable[str]) -> Scale | None:
        """One scale for all of some values; None where a number among them is not finite."""
        known = [v for v in values if v in self.low]
        if not known or any(np.isnan(self.low[v]) for v in known):
            return None
        return Scale.of_range(min(self.low[v] for v in known), max(self.high[v] for v in known))


class Recorder:
    """Runs a bound net in f32 and takes every f32 value's range."""

    def __init__(self, bound: BoundNet, threads: int):
        self.bound = bound
        self._sessions = [plan_route(default_route(part, threads), part, threads).session()
                          for part in map(self._part, _groups(bound))]
        size = max((sum(map(_room, s.plan.outputs.values())) for s in self._sessions), default=0)
        self._memory = np.empty(size + _ALIGNMENT, np.uint8)

    def run(self, inputs: Mapping[str, np.ndarray], ranges: Ranges) -> None:
        """One sample."""
        for name, array in inputs.items():
            if self.bound.spec(name).dtype == "f32":
                ranges.add(name, array)
        for session in self._sessions:
            for name, array in session.run(inputs, self._places(session)).items():
                ranges.add(name, array)

    def _part(self, values: list[str]) -> BoundNet:
        """The net up to some values, which are its outputs."""
        net, wanted, layers = self.bound.net, set(values), []
        for layer in reversed(net.layers):
            if wanted.intersection(layer.outputs):
                wanted.update(v for v in layer.inputs if v)
                layers.append(layer)
        return BoundNet(Net(net.inputs, values, layers[::-1], net.constants, net.specs))

    def _places(self, session: Any) -> dict[str, np.ndarray]:
        """Arrays for the outputs, in memory that all groups share."""
        places, at = {}, -self._memory.ctypes.data % _ALIGNMENT
        for name, spec in session.plan.outputs.items():
            dtype = np.dtype(numpy_dtype(spec.dtype))
            places[name] = self._memory[at:at + spec.elements * dtype.itemsize].view(dtype).reshape(spec.shape)
            at += _room(spec)
        return places


def _room(spec) -> int:
    """Bytes of an f32 value, rounded up."""
    return -(-4 * spec.elements // _ALIGNMENT) * _ALIGNMENT


def _groups(bound: BoundNet) -> Iterator[list[str]]:
    """The f32 values that layers make, in order, in groups of up to GROUP_BYTES (or one value)."""
    group, size = [], 0
    for layer in bound.layers:
        for value in layer.outputs:
            if bound.spec(value).dtype == "f32" and prod(bound.spec(value).shape):
                if group and size + _room(bound.spec(value)) > GROUP_BYTES:
                    yield group
                    group, size = [], 0
                group.append(value)
                size += _room(bound.spec(value))
    if group:
        yield group


# ---- values that share a scale --------------------------------------------------------------------------------------

class _Sets:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (above := self.parent.setdefault(name, name)) != name:
            name = above
        return name

    def unite(self, names: Iterable[str]) -> None:
        first, *others = map(self.root, names)
        for other in others:
            self.parent[other] = first


def scales_of(bound: BoundNet, ranges: Ranges) -> dict[str, Scale]:
    """A scale per f32 value of a net whose ranges are known.

    Inputs and outputs of a layer that moves elements (`LayerKind.moves`) share theirs, so that it can move integers. So do
    those of a relu or clip around 0 whose input nobody else uses, with the range of the output: what the input loses at
    its ends, the layer would have cut off. A value that was not finite on some sample has no scale, nor have those that
    share with it.
    """
    sets, values = _Sets(), [v for v in (*bound.inputs, *(v for layer in bound.layers for v in layer.outputs))
                             if bound.spec(v).dtype == "f32"]
    for layer in bound.layers:
        moved = _moved(bound, layer)
        if len(moved) > 1:
            sets.unite(moved)
    members: dict[str, list[str]] = {}
    for value in values:
        members.setdefault(sets.root(value), []).append(value)
    scales = {}
    for group in members.values():
        scale = ranges.scale(group)
        if scale is not None:
            scales.update(dict.fromkeys(group, scale))
    users, outputs = bound.net.consumers(), set(bound.net.outputs)
    for layer in reversed(bound.layers):
        value = layer.inputs[0] if layer.inputs else ""
        if _cuts(layer) and value in scales and layer.outputs[0] in scales and len(members[sets.root(value)]) == 1 and \
                len(users[value]) == 1 and value not in outputs:
            scales[value] = scales[layer.outputs[0]]
    return scales


def _moved(bound: BoundNet, layer: Layer) -> list[str]:
    """The f32 values that share a layer's elements; none where it computes something."""
    from ..layers import kind_of
    inputs = layer.inputs[kind_of(layer.kind).moves]
    if not inputs or layer.epilogue:
        return []
    return [v for v in (*inputs, *layer.outputs) if v and v not in bound.net.constants and bound.spec(v).dtype == "f32"]


def _cuts(layer: Layer) -> bool:
    """True for a relu, or a clip whose ends have 0 between them."""
    if layer.epilogue:
        return False
    return layer.kind == "relu" or layer.kind == "clip" and \
        float(layer.attrs.get("min", -np.inf)) <= 0 <= float(layer.attrs.get("max", np.inf))


# ---- samples --------------------------------------------------------------------------------------------------------

class Samples:
    """Samples of which files and Pillow images go through `from_image` first, when their turn comes."""

    def __init__(self, samples: Iterable[Any], from_image: Callable[[Any], Mapping[str, Any]] | None):
        if isinstance(samples, (str, os.PathLike, Mapping)) or not hasattr(samples, "__iter__"):
            raise InputError(f"calibrate: expected an iterable of samples, got {type(samples).__name__}; put a single one "
                             f"into a list")
        self.samples, self.from_image = samples, from_image

    def __len__(self) -> int:
        return len(self.samples) if hasattr(self.samples, "__len__") else 0

    def __iter__(self) -> Iterator[Any]:
        for i, sample in enumerate(self.samples):
            image = isinstance(sample, (str, os.PathLike)) or hasattr(sample, "getexif")
            if image and self.from_image is None:
                raise InputError(f"samples[{i}]: an image needs a preprocess net, which this model lacks; load it with "
                                 f"preprocess=..., or give arrays")
            yield self.from_image(sample) if image else sample


def calibrate(net: Net, bind: Callable[[Any], BoundNet], samples: Samples, threads: int,
              progress: Callable[[float, str], None] | None = None) -> dict[str, Scale]:
    """Scales of a net's values, bound, from samples.

    `samples`: each an array for a net with one input, else a dict by name; floating point, finite, of the declared
    shapes, with or without the first dimension. `bind`: the net at the shapes of its inputs. Raises InputError,
    DTypeError naming the sample.
    """
    ranges, recorders, total = Ranges(), {}, len(samples)
    nets: dict[tuple, BoundNet] = {}  # values may have other names at other shapes
    for i, sample in enumerate(samples):
        if progress:
            progress(i / total if total else 0.0, f"sample {i + 1}" + (f" of {total}" if total else ""))
        arrays = sample_arrays(net, f"samples[{i}]", sample)
        key = tuple(a.shape for a in arrays.values())
        if key not in recorders:
            bound = bind({n: a.shape for n, a in arrays.items()})
            nets[tuple(bound.net.specs)] = bound
            recorders = {key: Recorder(bound, threads)}
        recorders[key].run(arrays, ranges)
    if not nets:
        raise InputError("calibrate: expected at least one sample, got none; give inputs that are typical of what the "
                         "model will see, a hundred or so")
    scales: dict[str, Scale] = {}
    for bound in nets.values():
        scales.update(scales_of(bound, ranges))
    return scales


def sample_arrays(net: Net, where: str, sample: Any) -> dict[str, np.ndarray]:
    """The arrays of a sample by input, checked. Raises InputError, DTypeError."""
    from ..net.evaluate import match_symbols
    if not isinstance(sample, Mapping):
        if len(net.inputs) != 1:
            raise InputError(f"{where}: expected a dict with the inputs {', '.join(map(repr, net.inputs))}, got "
                             f"{type(sample).__name__}")
        sample = {next(iter(net.inputs)): sample}
    if set(sample) != set(net.inputs):
        raise InputError(f"{where}: expected exactly the inputs {', '.join(map(repr, net.inputs))}, got "
                         f"{', '.join(map(repr, sample)) or 'none'}")
    arrays = {}
    for name, spec in net.inputs.items():
        try:
            array = as_array(name, sample[name])
        except InputError as e:
            raise InputError(f"{where}, {e}") from e
        dtype = np.dtype(numpy_dtype(spec.dtype))
        if array.dtype != dtype:
            raise DTypeError(f"{where}, input {name!r}: expected element type {dtype} ({spec}), got {array.dtype}; convert "
                             f"it yourself if that is meant: x.astype({str(dtype)!r})")
        if array.ndim == spec.rank - 1:
            array = array[None]
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{where}, input {name!r}: expected finite numbers, got NaN or infinity among them; leave "
                             f"such samples out")
        arrays[name] = array
    try:
        match_symbols(net.inputs, {n: a.shape for n, a in arrays.items()})
    except InputError as e:
        raise InputError(f"{where}: {e}") from e
    return arrays
