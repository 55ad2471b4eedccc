"""Which values share a scale, which stay in float, and what 8 bits lose on the others.

A value has one scale for all its numbers. Where numbers of very different sizes lie side by side, the small ones would
be lost without a word, so a value that a layer puts together from such parts gets no scale: routines on integers are
then not offered for it, and its parts keep scales of their own. What a layer computes may hold channels of very different
sizes too; most nets bear that, so such a value keeps its scale, and is named where the trial (`trial.py`) shows that this
one does not. Outputs of the net are what the user reads, and cost little in float: they lose their scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..locks import cached_property
from ..net.net import Layer
from ..net.per_array import PerArray
from ..net.scales import Scale
from ..words import counted
from .bound import BoundNet
from .ranges import Ranges, width

#: Ranges that share a scale differ by at most this factor: the smaller one loses at most three of eight bits.
MOST_RATIO = 8.0
#: Steps of a scale. A term of a sum whose whole range is below one step of the sum would vanish.
STEPS = 255
#: Expected relative errors (RMS over RMS) above which a channel counts as lost, and a whole value as coarse.
LOST, COARSE = 0.5, 0.2
#: Values that a note names.
NAMED = 3

_width_of_constant = PerArray(lambda array: width(array.min(), array.max()) if array.size else 0.0)


def expected_error(scale: Scale, rms: float) -> float:
    """The relative RMS error of numbers of a size when they are rounded to the steps of a scale, at most 1.

    Source: rounding to steps of s has the variance s^2 / 12.
    """
    return min(1.0, max(scale.steps) / math.sqrt(12) / rms) if rms else 0.0


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


class _Mixed(NamedTuple):
    """A layer that puts parts of very different ranges together."""

    layer: Layer
    least: float
    most: float


@dataclass(frozen=True)
class Scales:
    """`scales` by value. `notes`: which values have none, and why. `suspects`: which would lose much; sentences."""

    scales: dict[str, Scale]
    notes: list[str]
    suspects: list[str]


def scales_of(bound: BoundNet, ranges: Ranges) -> Scales:
    """A scale per f32 value of a net whose ranges are known.

    Inputs and outputs of a layer that moves elements (`LayerKind.moves`) share a scale where their ranges are alike, so
    that it can move integers. So do those of a relu or clip around 0 whose input nobody else uses, with the range of the
    output: what the input loses at its ends, the layer would have cut off. No scale has a value that was not finite on
    some sample, one that holds parts of very different ranges (`MOST_RATIO`), nor what only moves such a value.
    """
    return _Sharing(bound, ranges).result()


class _Sharing:
    """One pass over a net."""

    def __init__(self, bound: BoundNet, ranges: Ranges):
        self.bound, self.ranges = bound, ranges
        self.sets = _Sets()
        self.mixed: list[_Mixed] = []
        self.values = [v for v in (*bound.inputs, *(v for layer in bound.layers for v in layer.outputs))
                       if bound.spec(v).dtype == "f32"]
        self.floating = {v for v in self.values if not ranges.known(v)}

    def result(self) -> Scales:
        """Look at every layer, then at every set of values."""
        for layer in self.bound.layers:
            self._layer(layer)
        scales: dict[str, Scale] = {}
        for group in self.members.values():
            scale = Scale.of_range(min(self.ranges.low[v] for v in group), max(self.ranges.high[v] for v in group))
            if scale is not None:
                scales.update(dict.fromkeys(group, scale))
        self._cut(scales)
        outputs = self._read_by_users(scales)
        return Scales(scales, [*self._mixed_note(), *outputs], [*self._channel_note(scales), *self._outlier_note(scales)])

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """Values that share a scale, by the root of their set."""
        found: dict[str, list[str]] = {}
        for value in self.values:
            if value not in self.floating:
                found.setdefault(self.sets.root(value), []).append(value)
        return found

    # ---- who shares -------------------------------------------------------------------------------------------------

    def _layer(self, layer: Layer) -> None:
        """Unite what a layer moves, or leave its outputs in float."""
        from ..layers import kind_of
        kind = kind_of(layer.kind)
        outputs = [v for v in layer.outputs if v and self.bound.spec(v).dtype == "f32" and v not in self.floating]
        if layer.epilogue or not outputs:
            return
        parts = self._floats(layer.inputs[kind.moves if kind.beside is None else kind.beside])
        if parts:
            if any(v in self.floating for v in parts) or self._differ(layer, parts, outputs, MOST_RATIO):
                self.floating.update(outputs)
            else:
                self._unite([v for v in self._floats(layer.inputs[kind.moves]) if v not in self.bound.net.constants], outputs)
        elif kind.sums and not any(v in self.floating for v in self._floats(layer.inputs)) and \
                self._differ(layer, self._floats(layer.inputs), outputs, STEPS):
            self.floating.update(outputs)

    def _unite(self, moved: Sequence[str], outputs: Sequence[str]) -> None:
        """Inputs that a layer moves and outputs of nearly their range; a narrower output keeps a scale of its own."""
        most = max((self.ranges.width(v) for v in moved), default=0.0)
        alike = [v for v in outputs if self.ranges.width(v) * MOST_RATIO >= most]
        if moved and alike:
            self.sets.unite([*moved, *alike])

    def _floats(self, values: Iterable[str]) -> list[str]:
        return [v for v in values if v and self.bound.spec(v).dtype == "f32"]

    def _differ(self, layer: Layer, parts: Sequence[str], outputs: Sequence[str], ratio: float) -> bool:
        """True, and noted, where the narrowest part has less than the widest range over `ratio`. Zeros do not count."""
        widths = [w for w in map(self._width, parts) if w > 0]
        least, most = min(widths, default=0.0), max([*widths, *map(self.ranges.width, outputs)])
        if widths and least * ratio < most:
            self.mixed.append(_Mixed(layer, least, most))
            return True
        return False

    def _width(self, value: str) -> float:
        constants = self.bound.net.constants
        return _width_of_constant(constants[value]) if value in constants else self.ranges.width(value)

    def _cut(self, scales: dict[str, Scale]) -> None:
        """A relu or clip around 0 gives its range to an input that only it uses."""
        users, outputs = self.bound.net.consumers(), set(self.bound.net.outputs)
        for layer in reversed(self.bound.layers):
            value = layer.inputs[0] if layer.inputs else ""
            if _cuts(layer) and value in scales and layer.outputs[0] in scales and \
                    len(self.members[self.sets.root(value)]) == 1 and \
                    len(users[value]) == 1 and value not in outputs:
                scales[value] = scales[layer.outputs[0]]

    # ---- what is lost -----------------------------------------------------------------------------------------------

    def _lost(self, value: str, scale: Scale) -> tuple[float, int, int, int] | None:
        """Of the channels that one scale for all loses: (largest expected error, axis, the channel, how many there are)."""
        found = None
        for axis, rms in self.ranges.channels(value):
            errors = np.array([expected_error(scale, r) for r in rms])
            if errors.max(initial=0.0) > LOST and (found is None or errors.max() > found[0]):
                found = float(errors.max()), axis, int(errors.argmax()), int((errors > LOST).sum())
        return found

    def _read_by_users(self, scales: dict[str, Scale]) -> list[str]:
        """Take the scale from outputs of the net that would lose channels, and from what shares it; a note if there are."""
        named = []
        for value in self.bound.net.outputs:
            lost = self._lost(value, scales[value]) if value in scales else None
            if lost is not None:
                named.append(f"output {value!r}, whose channel {lost[2]} of axis {lost[1]} would be lost in 8 bits "
                             f"(range {_range(self.ranges, value)}, RMS of the channel "
                             f"{dict(self.ranges.channels(value))[lost[1]][lost[2]]:.2g})")
                for other in self.members[self.sets.root(value)]:
                    scales.pop(other, None)
        return [f"stays in float: {_listed(named)}"] if named else []

    def _mixed_note(self) -> list[str]:
        named = [f"{m.layer.outputs[0]!r} ({m.layer.kind}: one of its parts has a range {m.most / m.least:.0f} times as wide "
                 f"as another's)" for m in self.mixed]
        return [f"stays in float, since one scale would lose the small numbers: {_listed(named)}"] if named else []

    def _channel_note(self, scales: dict[str, Scale]) -> list[str]:
        found = [(lost, v) for v, s in scales.items() if (lost := self._lost(v, s)) is not None]
        found.sort(key=lambda f: (-f[0][0], f[1]))
        named = [f"{v!r} (range {_range(self.ranges, v)}: {counted(lost[3], 'channel')} of axis {lost[1]}, channel {lost[2]} "
                 f"the worst: expected relative error {lost[0]:.2g})" for lost, v in found]
        return [f"values with channels that are small beside their range, which 8 bits lose: {_listed(named)}"] \
            if named else []

    def _outlier_note(self, scales: dict[str, Scale]) -> list[str]:
        found = [(e, v) for v, s in scales.items() if (e := expected_error(s, self.ranges.usual(v))) > COARSE]
        found.sort(key=lambda f: (-f[0], f[1]))
        named = [f"{v!r} (range {_range(self.ranges, v)}, RMS of a usual sample {self.ranges.usual(v):.2g}: expected relative "
                 f"error {e:.2g})" for e, v in found]
        return [f"values whose range is wide for their numbers: {_listed(named)}; leave outliers among the "
                f"samples out"] if named else []


def _range(ranges: Ranges, value: str) -> str:
    return f"{ranges.low[value]:.3g} to {ranges.high[value]:.3g}"


def _listed(named: Sequence[str]) -> str:
    more = len(named) - NAMED
    return ", ".join(named[:NAMED]) + (f", and {more} more" if more > 0 else "")


def _cuts(layer: Layer) -> bool:
    """True for what moves elements to the ends of a range that has 0 in it: a relu, most clips."""
    from ..layers import kind_of
    found = None if layer.epilogue else kind_of(layer.kind).clamp(layer.attrs)
    return found is not None and found[0] <= 0 <= found[1]
