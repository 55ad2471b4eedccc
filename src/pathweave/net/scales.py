"""Scale: how an integer format of a value is read. It belongs to the value, not to its format (DESIGN section 6)."""

from __future__ import annotations

import math
from typing import NamedTuple

#: Element types of formats that hold a real value as an integer, with the smallest and the largest integer.
INTEGER_RANGE = {"u8": (0, 255)}
#: Scales between these have a reciprocal, and products with each other, that are normal float32 numbers.
LEAST_SCALE, LARGEST_SCALE = 2.0 ** -60, 2.0 ** 60


class Scale(NamedTuple):
    """real = scale * (q - zero_point). `scale`: above 0, a float32 number. `zero_point`: 0 to 255."""

    scale: float
    zero_point: int

    @staticmethod
    def of_range(low: float, high: float) -> Scale | None:
        """The scale whose 256 steps cover a range and 0, which is exact; None where the range is not finite or no
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
    def range(self) -> tuple[float, float]:
        """The smallest and the largest real number that it can hold."""
        return -self.zero_point * self.scale, (255 - self.zero_point) * self.scale

    def __str__(self) -> str:
        low, high = self.range
        return f"{low:.4g} to {high:.4g}, scale {self.scale:.4g}, zero point {self.zero_point}"


#: What a routine is told of a value whose scale is not known.
UNKNOWN = Scale(0.0, 0)


def needs_scale(value_dtype: str, format_dtype: str) -> bool:
    """True when a format holds a floating-point value as integers."""
    return format_dtype in INTEGER_RANGE and value_dtype != format_dtype
