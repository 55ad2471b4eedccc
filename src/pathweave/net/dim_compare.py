"""Comparisons of sizes that may be open: what holds at all sizes of the symbols, at none, or depends."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

from ..errors import SizeError
from .dim import MOST_SIZE, Expr, Extreme, Quotient, highest, lowest, substitute, symbol, symbols_of, terms_of

#: Cases of the remainders of symbols that `is_equal` looks at, and these times the parts of an expression.
MOST_CASES = 64
MOST_CASE_NODES = 2000


def found_bound(size: int | Expr) -> int:
    """The largest value that a size which contents decide may have: MOST_SIZE from 2^32 on, where a bound is of no use."""
    most = highest(size)
    return most if most < MOST_SIZE >> 8 else MOST_SIZE


def is_equal(a: int | Expr, b: int | Expr) -> bool | None:
    """True where a = b at all sizes, False where at none, None where it depends or is not known."""
    difference = a - b
    if not isinstance(difference, Expr):
        return difference == 0
    if difference.low > 0 or difference.high < 0:
        return False
    cases = list(_cases(difference))
    if cases and all(not isinstance(d, Expr) and d == 0 for d in cases):
        return True
    return False if cases and all(lowest(d) > 0 or highest(d) < 0 for d in cases) else None


def _cases(x: Expr) -> Iterator[int | Expr]:
    """x for each remainder of its symbols by what they are divided by; nothing where there are too many, or other quotients.

    Quotients then are exact, and what differs in form differs in value.
    """
    quotients = 1
    pending: list[int | Expr] = [x]
    while pending:
        for product, _ in terms_of(pending.pop()):
            for a in product:
                if isinstance(a, Quotient):
                    if not isinstance(a.under, int):
                        return
                    quotients = lcm(quotients, a.under)
                    pending.append(a.over)
                elif isinstance(a, Extreme):
                    pending += a.parts
    names = sorted(symbols_of(x), key=lambda s: s.key)
    cases = quotients ** len(names)
    if quotients == 1 or cases > MOST_CASES or cases * x.nodes > MOST_CASE_NODES:
        return
    for index in range(cases):
        sizes: dict[str, int | Expr] = {}
        for s in names:
            index, remainder = divmod(index, quotients)
            low, high = -((remainder - s.low) // quotients), (s.high - remainder) // quotients
            if low > high:
                break
            multiple = symbol(f"{s.name}/{quotients}", low, high) if low < high else low
            sizes[s.name] = multiple * quotients + remainder
        else:
            try:
                yield substitute(x, sizes)
            except SizeError:
                yield x


def is_at_least(a: int | Expr, b: int | Expr) -> bool | None:
    """True where a >= b at all sizes, False where at none, None where it depends or is not known."""
    difference = a - b
    return True if lowest(difference) >= 0 else False if highest(difference) < 0 else None


def is_less(a: int | Expr, b: int | Expr) -> bool | None:
    """True where a < b at all sizes, False where at none, None where it depends or is not known."""
    found = is_at_least(a, b)
    return None if found is None else not found
