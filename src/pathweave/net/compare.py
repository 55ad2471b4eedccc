"""How far results are from a reference: whole outputs, channel by channel, and the place of the largest difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .floats import bits_of, numbers_of
from .roles import channel_axes, usual_roles

#: Chance that a channel whose numbers are small by accident is taken for one that is small by nature.
CHANCE = 1e-3
#: So many numbers are needed at least for their size to say anything: one or two are near zero by accident in any net.
FEW = 3
#: A channel counts as large as this share of the whole output at least.
FLOOR = 1e-4


@dataclass(frozen=True)
class Agreement:
    """`largest`: largest difference over the largest absolute reference value. `rms`: RMS of the difference over that of
    the reference. Both infinite where NaN, infinity, shape or number of outputs differ; 0 for equal values."""

    largest: float
    rms: float

    def to_json(self) -> dict[str, float]:
        return {"largest": self.largest, "rms": self.rms}


NO_AGREEMENT = Agreement(float("inf"), float("inf"))


@dataclass(frozen=True)
class Place:
    """Where two arrays differ most, and the two numbers."""

    index: tuple[int, ...]
    got: Any
    expected: Any


@dataclass(frozen=True)
class Channel:
    """Agreement of channel `number` of an axis. `size`: RMS of the channel's reference values. `over`: what the difference is
    divided by, in words: the channel's own numbers, a share of the whole output, or all of it."""

    axis: int
    number: int
    size: float
    agreement: Agreement
    over: str = ""


def fits(got: np.ndarray, wanted: np.ndarray) -> bool:
    """True where two arrays can be compared by number: one shape, floating point, NaN and infinities at one place."""
    if got.shape != wanted.shape or got.dtype.kind != "f":
        return False
    fine = np.isfinite(wanted)
    return np.array_equal(fine, np.isfinite(got)) and np.array_equal(got[~fine], wanted[~fine], equal_nan=True)


def comparable(got: Any, wanted: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two outputs as numbers: bits of bfloat16 (uint16) are bfloat16 where the other one is."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.dtype != wanted.dtype:  # bits of bfloat16 are bfloat16 to what runs layers
        shown = bits_of if np.uint16 in (got.dtype, wanted.dtype) else numbers_of
        return shown(got), shown(wanted)
    return numbers_of(got), numbers_of(wanted)


def compare(got: Any, wanted: Any) -> Agreement:
    """Agreement of one output with its reference; integers agree wholly or not at all."""
    got, wanted = comparable(got, wanted)
    if got.dtype.kind != "f" or wanted.dtype.kind != "f":
        return Agreement(0.0, 0.0) if np.array_equal(got, wanted) else NO_AGREEMENT
    if not fits(got, wanted):
        return NO_AGREEMENT
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    fine = np.isfinite(wanted)
    if not fine.any():
        return Agreement(0.0, 0.0)
    difference, wanted = np.abs(got[fine] - wanted[fine]), wanted[fine]
    largest, size = float(np.abs(wanted).max()), float(np.sqrt(np.mean(np.square(wanted))))
    error = float(np.sqrt(np.mean(np.square(difference))))
    return Agreement(float(difference.max()) / largest if largest else float(difference.max()),
                     error / size if size else error)


def relative_error(got: Any, wanted: Any) -> float:
    """RMS of the difference over that of what is wanted, in float64; infinite for another shape or misplaced NaN, infinity.

    Where all that is wanted is 0, the RMS of the difference itself. Integers and bool: 0 where equal, else infinite.
    """
    return compare(got, wanted).rms


def shares_of_one(array: np.ndarray, axis: int) -> bool:
    """True where the numbers along an axis are not negative and add up to 1 everywhere, as probabilities do."""
    return bool(array.size and array.min() >= 0 and np.abs(array.sum(axis=axis, dtype=np.float64) - 1).max() < 1e-3)


def largest_difference(got: Any, wanted: Any) -> Place | None:
    """Where two arrays of one shape differ most, NaN and infinity first; None where they are equal or of other shapes."""
    got, wanted = comparable(got, wanted)
    if got.shape != wanted.shape or not got.size:
        return None
    if got.dtype.kind == "f":
        with np.errstate(all="ignore"):
            difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))
    else:
        difference = (got != wanted).astype(np.float64)
    at = int(difference.argmax())
    if not difference.reshape(-1)[at]:
        return None
    index = tuple(int(i) for i in np.unravel_index(at, got.shape))
    return Place(index, got[index].item(), wanted[index].item())


class Channels:
    """Differences per channel of one output, over samples.

    A channel is judged by the size of its own numbers where they are small by nature, else by that of the whole output: of
    few numbers some are near zero by accident, and small errors are large beside them. The RMS of n normal numbers is below
    t times their deviation with a chance of (t sqrt(e))^n at most, the bound of Chernoff. An axis along which every row adds
    up to 1 holds shares of one thing, whose small ones mean nothing alone: it has no channels.
    """

    def __init__(self) -> None:
        self._axes: dict[tuple[int, int], _Sums] = {}
        self._shares: set[int] = set()
        self._whole = _Sums(1)

    def add(self, got: np.ndarray, wanted: np.ndarray) -> None:
        """One sample: arrays that `fits` says can be compared."""
        got, wanted = got.astype(np.float64), wanted.astype(np.float64)
        fine = np.isfinite(wanted)
        got, wanted = np.where(fine, got, 0.0), np.where(fine, wanted, 0.0)
        difference = got - wanted
        self._whole.add(difference.reshape(1, -1), wanted.reshape(1, -1))
        for axis in channel_axes(usual_roles(wanted.ndim)):
            if shares_of_one(wanted, axis):
                self._shares.add(axis)
            count = wanted.shape[axis]
            rows = [np.moveaxis(a, axis, 0).reshape(count, -1) for a in (difference, wanted)]
            self._axes.setdefault((axis, count), _Sums(count)).add(*rows)

    def worst(self, by: str, allowed: Channels | None = None, times: float = 1.0) -> Channel | None:
        """The channel that agrees least, by the measure `largest` or `rms`; None for an output without channels.

        `allowed`: differences of something else from the same reference; `times` as much is no error.
        """
        found: Channel | None = None
        for key in self._axes:
            errors, size = self._errors(key)
            less = errors if allowed is None or key not in allowed._axes else \
                {m: np.where(e <= times * o, 0.0, e) for (m, e), o in zip(errors.items(), allowed._errors(key)[0].values())}
            if not size.size:
                continue
            at = int(less[by].argmax())
            if found is None or less[by][at] > getattr(found.agreement, by):
                found = Channel(key[0], at, float(size[at]), Agreement(float(less["largest"][at]), float(less["rms"][at])),
                                self._over(key, at, by))
        return found

    def _over(self, key: tuple[int, int], at: int, by: str) -> str:
        """What a channel's difference is divided by, in words."""
        own, whole = self._axes[key], self._whole
        size, all_ = (own.rms()[at], whole.rms()[0]) if by == "rms" else (own.largest[at], whole.largest[0])
        name, names = ("RMS", "the RMS of the output") if by == "rms" else ("largest number", "the output's largest number")
        if not self._by_nature(key)[at]:
            return f"{names}, {all_:.2g}"
        return f"{FLOOR:.0e} of {names}, {all_:.2g}" if size < FLOOR * all_ else f"its {name}, {size:.2g}"

    def _by_nature(self, key: tuple[int, int]) -> np.ndarray:
        """True for channels whose size is no accident."""
        sums, size, all_ = self._axes[key], self._axes[key].rms(), float(self._whole.rms()[0])
        below = (CHANCE / key[1]) ** (1 / sums.numbers) / math.sqrt(math.e) if sums.numbers >= FEW else 0.0
        return (size < below * all_) | (size > all_)

    def _errors(self, key: tuple[int, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Per channel of an axis: both measures, and the RMS of the reference; nothing where the axis has no channels."""
        (axis, count), sums, whole = key, self._axes[key], self._whole
        if axis in self._shares or count < 2 or not sums.numbers:
            return {}, np.empty(0)
        size, all_, own = sums.rms(), float(whole.rms()[0]), self._by_nature(key)
        share = np.where(own, np.maximum(size, FLOOR * all_), all_)
        peak = np.where(own, np.maximum(sums.largest, FLOOR * whole.largest), whole.largest)
        return {"largest": _over(sums.off, peak), "rms": _over(sums.error(), share)}, size


class _Sums:
    """Per channel: sums of squares and the largest of differences and of reference values."""

    def __init__(self, count: int):
        self.numbers = 0
        self._errors, self._squares, self.off, self.largest = (np.zeros(count) for _ in range(4))

    def add(self, difference: np.ndarray, wanted: np.ndarray) -> None:
        if not wanted.size:
            return
        self.numbers += wanted.shape[1]
        self._errors += np.square(difference).sum(axis=1)
        self._squares += np.square(wanted).sum(axis=1)
        np.maximum(self.off, np.abs(difference).max(axis=1), out=self.off)
        np.maximum(self.largest, np.abs(wanted).max(axis=1), out=self.largest)

    def rms(self) -> np.ndarray:
        return np.sqrt(self._squares / max(1, self.numbers))

    def error(self) -> np.ndarray:
        return np.sqrt(self._errors / max(1, self.numbers))


def _over(errors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Errors over sizes; errors themselves where the reference is 0 throughout."""
    return errors / np.where(sizes > 0, sizes, 1.0)
