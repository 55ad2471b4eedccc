"""Ranges: what calibration keeps of every value: its ends, and how large its numbers usually are."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from ..net.compare import shares_of_one
from ..net.roles import Roles, channel_axes, usual_roles

#: Numbers of one array that its usual size is taken from, evenly spread; at least `LOOKED_AT_EACH` of every channel.
LOOKED_AT, LOOKED_AT_EACH = 1 << 14, 16


class Ranges:
    """Of every value so far: smallest and largest number, NaN once one of them was NaN; the RMS of each sample; and the
    mean square of every channel."""

    def __init__(self) -> None:
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}
        self._samples: dict[str, list[float]] = {}
        self._channels: dict[str, dict[tuple[int, int], tuple[int, np.ndarray]]] = {}

    def add(self, value: str, array: np.ndarray, roles: Roles | None = None) -> None:
        """Take an array of a value in. `roles`: of its axes, None where nothing is known of them."""
        if not array.size:
            return
        # NumPy's minimum, unlike Python's, keeps a NaN.
        self.low[value] = float(np.minimum(self.low.get(value, np.inf), array.min()))
        self.high[value] = float(np.maximum(self.high.get(value, -np.inf), array.max()))
        with np.errstate(all="ignore"):
            some = array.reshape(-1)[::_step(array.size, LOOKED_AT)].astype(np.float64)
            self._samples.setdefault(value, []).append(float(np.sqrt(np.mean(np.square(some)))))
            channels = self._channels.setdefault(value, {})
            for axis in channel_axes(usual_roles(array.ndim) if roles is None else roles):
                some = _some(array, axis)
                squares = _mean_squares(some, 1 if axis == 1 else -1)
                count, before = channels.get((axis, len(squares)), (0, 0.0))
                channels[axis, len(squares)] = count + (not shares_of_one(some, 1 if axis == 1 else -1)), before + squares

    def known(self, value: str) -> bool:
        """True where the value was seen, and all its numbers were finite."""
        return bool(np.isfinite(self.low.get(value, np.nan)) and np.isfinite(self.high.get(value, np.nan)))

    def width(self, value: str) -> float:
        """The range of a value, 0 being part of it: from 0 on."""
        return width(self.low[value], self.high[value])

    def usual(self, value: str) -> float:
        """The RMS of the numbers of a usual sample: the median over the samples."""
        return statistics.median(self._samples[value])

    def channels(self, value: str) -> list[tuple[int, np.ndarray]]:
        """(axis, RMS of each channel) for every axis that was as long on all samples and holds no probabilities."""
        count = len(self._samples.get(value, ()))
        return [(axis, np.sqrt(total / n)) for (axis, _), (n, total) in self._channels.get(value, {}).items() if n == count]


def width(low: Any, high: Any) -> float:
    """The length of a range with 0 in it."""
    return max(float(high), 0.0) - min(float(low), 0.0)


def _step(numbers: int, wanted: int) -> int:
    """A distance at which about as many numbers lie as are wanted; odd, so that they do not all lie in one column."""
    return max(1, numbers // wanted) | 1 if numbers > wanted else 1


def _some(array: np.ndarray, axis: int) -> np.ndarray:
    """Some of the numbers of every channel, evenly spread, as [N,C,...] (axis 1) or [...,C] (the last)."""
    count = array.shape[axis]
    each = max(LOOKED_AT_EACH, LOOKED_AT // count)
    if axis == 1:
        images = array.reshape(array.shape[0], count, -1)
        return images[:, :, ::_step(images.shape[0] * images.shape[2], each)]
    rows = array.reshape(-1, count)
    return rows[::_step(len(rows), each)]


def _mean_squares(some: np.ndarray, axis: int) -> np.ndarray:
    return np.square(some, dtype=np.float64).mean(axis=(0, 2) if axis == 1 else 0)
