"""Accuracy classes of routines: relative RMS error of a layer against float64. See DESIGN section 6."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from ..errors import InputError

#: Class, the most accurate first -> largest relative RMS error for sums of up to 1,024 terms; of bf16 and int8 what their
#: formats can hold.
LIMITS = {"strict": 1e-6, "f32": 1e-5, "reduced": 1e-2, "quantised": 5e-2}
ACCURACIES = tuple(LIMITS)
#: What a routine whose id names an element type may have of that: f16 has three bits more than bf16.
PARTS = {"f16": 0.125}
#: Classes in which whole nets are commonly run and engines compared.
COMMON = ACCURACIES[1:]


def accuracy_rank(accuracy: str) -> int:
    """Position of an accuracy class, 0 = most accurate. Raises InputError for an unknown one."""
    try:
        return ACCURACIES.index(accuracy)
    except ValueError:
        raise InputError(f"accuracy {accuracy!r}: expected one of {', '.join(ACCURACIES)}") from None


def least_accurate(classes: Iterable[str]) -> str:
    """The least accurate of some classes; the most accurate of all where there is none."""
    return max(classes, key=accuracy_rank, default=ACCURACIES[0])


def common_class(accuracy: str) -> str:
    """The class as one of COMMON: what is more accurate counts as the first."""
    return COMMON[max(0, accuracy_rank(accuracy) - 1)]


def largest_error(accuracy: str, terms: int, dtype: str = "") -> float:
    """Largest relative RMS error of a class, in an element type, for sums of so many terms: rounding errors grow with the
    square root."""
    return LIMITS[accuracy] * PARTS.get(dtype, 1.0) * max(1.0, sqrt(terms / 1024))
