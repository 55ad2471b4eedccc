"""Words of messages and tables."""

from __future__ import annotations

import re

#: A number with a point or an exponent, not inside of a word.
_FLOAT = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")


def counted(n: int | str, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 thread`, `2 threads`; `plural`: where it is not the noun with an s."""
    return f"{n} {noun}" if n == 1 else f"{n} {plural or noun + 's'}"


def short_floats(text: str) -> str:
    """A text to look at: numbers that are f32 values by the fewest digits that tell them from other f32 values, such as 0.1
    for 0.10000000149011612. What is read again, as a problem's text, stays as it is."""
    import numpy as np

    def short(found: re.Match[str]) -> str:
        value = float(found[0])
        with np.errstate(over="ignore"):
            single = np.float32(value)
        return min(str(single), found[0], key=len) if float(single) == value else found[0]
    return _FLOAT.sub(short, text)
