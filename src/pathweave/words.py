"""Words of messages and tables."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 thread`, `2 threads`; `plural`: where it is not the noun with an s."""
    return f"{n} {noun}" if n == 1 else f"{n} {plural or noun + 's'}"
