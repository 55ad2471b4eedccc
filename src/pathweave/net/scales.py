"""Scale: how an integer format of a value is read. It belongs to the value, not to its format (DESIGN section 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ModelError
from .dim import MOST_SIZE, Expr

#: Integer types that a scale may be of, with the smallest and the largest integer.
INTEGER_RANGE = {"u8": (0, 255), "i8": (-128, 127), "u16": (0, 65535), "i16": (-32768, 32767), "i32": (-2**31, 2**31 - 1)}
#: Those in which routines of this build hold a real value.
HELD_AS = ("u8",)
#: Scales between these have a reciprocal, and products with each other, that are normal float32 numbers.
LEAST_SCALE, LARGEST_SCALE = 2.0 ** -60, 2.0 ** 60


class Scale(NamedTuple):
    """real = scale * (q - zero_point), with one scale for the whole value or one per position along an axis.

    `scale`: above 0, a float32 number; along an axis a tuple of them. `zero_point`: in the range of `dtype`; along an axis as
    many. `dtype`: of the integers q, one of INTEGER_RANGE. `axis`: of the logical shape; None: one scale for the whole value.
    """

    scale: float | tuple[float, ...]
    zero_point: int | tuple[int, ...]
    dtype: str = "u8"
    axis: int | None = None

    @staticmethod
    def of_range(low: float, high: float) -> Scale | None:
        """The scale of u8 whose 256 steps cover a range and 0, which is exact; None where the range is not finite or no
        float32 scale covers it."""
        import numpy as np
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        low, high = min(0.0, float(low)), max(0.0, float(high))
        if low == high:
            return Scale(1.0, 0)
        scale = float(np.float32(max((high - low) / 255, LEAST_SCALE)))
        if scale > LARGEST_SCALE:
            return None
        return Scale(scale, min(255, max(0, round(-low / scale))))

    @property
    def steps(self) -> tuple[float, ...]:
        """The scale, or those along the axis."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    @property
    def zero_points(self) -> tuple[int, ...]:
        """The zero point, or those along the axis."""
        return self.zero_point if isinstance(self.zero_point, tuple) else (self.zero_point,)

    @property
    def simple(self) -> bool:
        """True for one scale of u8 for the whole value."""
        return self.axis is None and self.dtype == "u8"

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest real number that it can hold, along an axis at any position."""
        least, largest = INTEGER_RANGE[self.dtype]
        pairs = list(zip(self.steps, self.zero_points))
        return min((least - z) * s for s, z in pairs), max((largest - z) * s for s, z in pairs)

    def __str__(self) -> str:
        low, high = self.range
        text = f"{low:.4g} to {high:.4g}, "
        if self.axis is None:
            text += f"scale {self.steps[0]:.4g}, zero point {self.zero_points[0]}"
        else:
            text += f"{len(self.steps)} scales along axis {self.axis}"
        return text if self.dtype == "u8" else f"{text}, {self.dtype}"

    def to_plain(self) -> list[Any] | dict[str, Any]:
        """As files and JSON documents write it: [scale, zero point] of u8 for the whole value, else an object."""
        scales, zeros = [float(s) for s in self.steps], [int(z) for z in self.zero_points]
        if self.axis is None:
            return [scales[0], zeros[0]] if self.dtype == "u8" else \
                {"scale": scales[0], "zero_point": zeros[0], "dtype": self.dtype}
        return {"scale": scales, "zero_point": zeros, "dtype": self.dtype, "axis": self.axis}


def plain_scales(scales: Mapping[str, Mapping[str, Scale]]) -> dict[str, dict[str, Any]]:
    """Scales by net and value as JSON data."""
    return {net: {value: scale.to_plain() for value, scale in found.items()} for net, found in scales.items()}


#: What a routine is told of a value whose scale is not known.
UNKNOWN = Scale(0.0, 0)


def make_scale(scale: Any, zero_point: Any = 0, dtype: str = "u8", axis: int | None = None) -> Scale:
    """A checked scale: numbers, or with an `axis` sequences of them, which NumPy arrays may be; scales are rounded to float32.

    Raises ModelError that says what is wrong.
    """
    import numpy as np

    from .size import MOST_RANK
    if not isinstance(dtype, str) or dtype not in INTEGER_RANGE:
        raise ModelError(f"scale: expected integers of type {', '.join(INTEGER_RANGE)}, got {dtype!r}")
    if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not 0 <= axis < MOST_RANK):
        raise ModelError(f"scale: expected an axis from 0 to {MOST_RANK - 1}, counted from the front, or None, got {axis!r}")
    scales, zeros = _numbers(scale, axis is not None, "scale"), _numbers(zero_point, axis is not None, "zero point")
    if len(zeros) == 1 < len(scales):
        zeros *= len(scales)
    if not scales or len(scales) != len(zeros) or len(scales) > MOST_SIZE:
        raise ModelError(f"scale: expected as many zero points as scales, at least one, got {len(zeros)} and {len(scales)}")
    least, largest = INTEGER_RANGE[dtype]
    rounded = [float(np.float32(s)) if _is_number(s) and LEAST_SCALE <= s <= LARGEST_SCALE else math.nan for s in scales]
    for got, number in zip(scales, rounded):
        if math.isnan(number):
            raise ModelError(f"scale: expected a scale from {LEAST_SCALE:.3g} to {LARGEST_SCALE:.3g}, got {got!r}")
    for z in zeros:
        if isinstance(z, bool) or not isinstance(z, (int, np.integer)) or not least <= z <= largest:
            raise ModelError(f"scale: expected a zero point from {least} to {largest}, got {z!r}")
    integers = [int(z) for z in zeros]
    return Scale(rounded[0], integers[0], dtype) if axis is None else Scale(tuple(rounded), tuple(integers), dtype, int(axis))


def _numbers(given: Any, several: bool, what: str) -> list[Any]:
    found = given.tolist() if hasattr(given, "tolist") else given
    listed = isinstance(found, Sequence) and not isinstance(found, (str, bytes))
    if listed and not several:
        raise ModelError(f"scale: expected an axis along which the {what}s lie, got a list of them and no axis")
    return list(found) if listed else [found]


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def needs_scale(value_dtype: str, format_dtype: str) -> bool:
    """True when a format holds a floating-point value as integers."""
    return format_dtype in INTEGER_RANGE and value_dtype != format_dtype


def check_axis(value: str, scale: Scale, shape: Sequence[int | str | Expr]) -> None:
    """Raise ModelError where a value of this shape has no such axis, or one of another length; open sizes may be any."""
    if scale.axis is None:
        return
    length = shape[scale.axis] if scale.axis < len(shape) else None
    if length is None or isinstance(length, int) and length != len(scale.steps):
        listed = ",".join(map(str, shape))
        wanted = f"{length} of them" if length is not None else f"an axis below {len(shape)}"
        raise ModelError(f"value {value!r} [{listed}]: its scale has {len(scale.steps)} numbers along axis {scale.axis}, "
                         f"expected {wanted}; state the scales of the value's own axis")
