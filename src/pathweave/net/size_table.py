"""Sizes as the native core computes them while a plan runs: expressions as a list of operations on earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .dim import MOST_SIZE, Expr, Quotient, symbols_of, terms_of

#: A number that the native core takes for one that cannot be computed, and the first that it cannot hold.
NO_NUMBER, TOO_LARGE = -2**63, 2**63


class SizeTable:
    """`operations`: (word, a, b); see SizeOp of native/runtime/sizes.h. The symbols that a caller gives come first.

    `given`: those symbols with their bounds, in order. `symbols`: the names of all symbols so far, in the order of theirs.
    """

    def __init__(self, given: Mapping[str, tuple[int, int]]):
        self.given = tuple(given)
        self.symbols: list[str] = list(given)
        self.operations: list[tuple[str, int, int]] = []
        self._known: dict[object, int] = {}
        for name, (low, high) in given.items():
            self._known["symbol", name] = self._add("symbol", low, min(high, MOST_SIZE))

    def slot(self, size: int | Expr) -> int:
        """The index of the operation whose result a size is."""
        if size not in self._known:
            self._known[size] = self._sum(terms_of(size)) if isinstance(size, Expr) else self._add("number", size, 0)
        return self._known[size]

    def slots(self, sizes: Iterable[int | Expr]) -> list[int]:
        """One per size."""
        return [self.slot(size) for size in sizes]

    def _add(self, word: str, a: int, b: int) -> int:
        if word == "number" and not NO_NUMBER < a < TOO_LARGE:
            a = NO_NUMBER
        key = word, a, b
        if word == "symbol" or key not in self._known:
            self.operations.append(key)
            if word == "symbol":
                return len(self.operations) - 1
            self._known[key] = len(self.operations) - 1
        return self._known[key]

    def _sum(self, terms: Any) -> int:
        total: int | None = None
        for product, coefficient in terms:
            at = self.slot(coefficient) if coefficient != 1 or not product else None
            for factor in product:
                one = self._factor(factor)
                at = one if at is None else self._add("multiply", at, one)
            assert at is not None
            total = at if total is None else self._add("add", total, at)
        assert total is not None
        return total

    def _factor(self, factor: Any) -> int:
        if isinstance(factor, Quotient):
            return self._add("divide", self.slot(factor.over), self.slot(factor.under))
        if hasattr(factor, "parts"):
            first, *rest = self.slots(factor.parts)
            for part in rest:
                first = self._add("most" if factor.word == "max" else "least", first, part)
            return first
        key = "symbol", factor.name
        if key not in self._known:
            self.symbols.append(factor.name)
            self._known[key] = self._add("symbol", max(0, factor.low), min(factor.high, MOST_SIZE))
        return self._known[key]


def _source(size: int | Expr, names: Mapping[str, str]) -> str:
    """A size as an expression of Python."""
    if not isinstance(size, Expr):
        return f"({size})"

    def factor(a: Any) -> str:
        if isinstance(a, Quotient):
            return f"({_source(a.over, names)}//{_source(a.under, names)})"
        return f"{a.word}({','.join(_source(p, names) for p in a.parts)})" if hasattr(a, "parts") else names[a.name]
    return "(" + "+".join("*".join([f"({c})", *map(factor, product)]) for product, c in size.terms) + ")"


def function_of(shapes: Sequence[Sequence[int | Expr]], names: Sequence[str]) -> Callable[..., list[tuple[int, ...]]]:
    """A function from sizes of the symbols `names`, in order, to shapes that depend on these: quicker than evaluating."""
    known = {name: f"v{i}" for i, name in enumerate(names)}
    for shape in shapes:
        for size in shape:
            missing = [s.name for s in symbols_of(size) if s.name not in known]
            if missing:
                raise KeyError(missing[0])
    body = "[" + ",".join("(" + "".join(f"{_source(d, known)}," for d in shape) + ")" for shape in shapes) + "]"
    made: Callable[..., list[tuple[int, ...]]] = eval(f"lambda {','.join(known.values())}: {body}", {"min": min, "max": max})
    return made
