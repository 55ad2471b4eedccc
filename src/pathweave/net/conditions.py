"""Conditions: what a shape rule assumes of sizes that are open, so that binding can check it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .dim import MOST_SIZE, Expr, evaluate, symbols_of, terms_of
from .dim_compare import is_at_least, is_equal


class Relation(NamedTuple):
    """`left` word `right`: word is ==, >= or "divides"."""

    left: int | Expr
    word: str
    right: int | Expr

    def known(self) -> bool | None:
        """Whether it holds at all sizes (True), at none (False), or is open."""
        if self.word == "divides":
            exact = is_equal(self.right % self.left, 0) if is_equal(self.left, 0) is False else None
            return exact
        return is_equal(self.left, self.right) if self.word == "==" else is_at_least(self.left, self.right)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it holds at these sizes; not where one of its own is divided by 0. Raises OpenSizesError where a symbol is
        not among them."""
        try:
            left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        except ZeroDivisionError:
            return False
        if self.word == "divides":
            return left != 0 and right % left == 0
        return left == right if self.word == "==" else left >= right

    def __str__(self) -> str:
        left, right = self.left, self.right
        if self.word != "divides" and isinstance(left, Expr) and isinstance(right, int):  # H-3 >= 0 is H >= 3
            constant = dict(left.terms).get((), 0)
            left, right = left - constant, right - constant
        return f"{left} {self.word} {right}"


class Condition(tuple[Relation, ...]):
    """Relations of which one must hold for the shapes of a net to be what they were inferred to be."""

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether one holds at these sizes. Raises OpenSizesError where a symbol is not among them."""
        return any(relation.holds(sizes) for relation in self)

    def names(self) -> set[str]:
        """Names of the symbols of all its sizes."""
        return {s.name for relation in self for size in (relation.left, relation.right) for s in symbols_of(size)}

    def __str__(self) -> str:
        return " or ".join(map(str, self))


def strongest(conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions without those that another one implies, in the order in which they first stand.

    Of H >= 2 and H >= 3 the second one stays; none where a number of MOST_SIZE or more is the larger side, such as the largest
    of i64: that no reader has to look at.
    """
    kept: dict[object, tuple[int, Condition]] = {}
    for condition in conditions:
        key: object = condition
        constant = 0
        if len(condition) == 1 and condition[0].word == ">=":
            left = condition[0].left
            if isinstance(left, int) and left >= MOST_SIZE:
                continue
            terms = dict(terms_of(left - condition[0].right))
            constant = terms.pop((), 0)
            key = frozenset(terms.items())
        if key not in kept or constant < kept[key][0]:
            kept[key] = constant, condition
    return [condition for _, condition in kept.values()]


_RECORD: ContextVar[list[Condition] | None] = ContextVar("conditions", default=None)


@contextmanager
def recording(conditions: list[Condition]) -> Iterator[None]:
    """Append what is assumed within to `conditions`."""
    token = _RECORD.set(conditions)
    try:
        yield
    finally:
        _RECORD.reset(token)


_FACTS: ContextVar[tuple[Condition, ...]] = ContextVar("facts", default=())


@contextmanager
def facts(conditions: Iterable[Condition]) -> Iterator[None]:
    """Take conditions for granted within, in `surely_equal` and `one_or_equal`."""
    token = _FACTS.set(tuple(conditions))
    try:
        yield
    finally:
        _FACTS.reset(token)


def surely_equal(a: int | Expr, b: int | Expr) -> bool:
    """Whether two sizes are equal at all sizes of their symbols at which the facts hold; False where that is not known."""
    return a == b or any(len(c) == 1 and _equates(c[0], a, b) for c in _FACTS.get())


def one_or_equal(a: int | Expr, b: int | Expr) -> bool:
    """Whether a is 1 or b wherever the facts hold; False where that is not known."""
    return a == 1 or surely_equal(a, b) or any(
        c and all(_equates(r, a, 1) or r.word == "==" and (r.left == a and surely_equal(r.right, b) or
                                                     r.right == a and surely_equal(r.left, b)) for r in c)
        for c in _FACTS.get())


def _equates(relation: Relation, a: int | Expr, b: int | Expr) -> bool:
    return relation.word == "==" and (relation.left, relation.right) in ((a, b), (b, a))


def assumed(*relations: tuple[int | Expr, str, int | Expr]) -> bool:
    """False where none of these relations can hold. What is open is assumed to hold, and recorded as a Condition."""
    opened = []
    for relation in relations:
        relation = Relation(*relation)
        known = relation.known()
        if known:
            return True
        if known is None:
            opened.append(relation)
    record = _RECORD.get()
    if opened and record is not None:
        record.append(Condition(opened))
    return bool(opened)


def equal(a: int | Expr, b: int | Expr) -> bool:
    """Whether two sizes are equal; for shape rules: what is open is assumed and recorded."""
    return a == b or not (type(a) is int and type(b) is int) and assumed((a, "==", b))


def at_least(a: int | Expr, b: int | Expr) -> bool:
    """Whether a >= b; for shape rules: what is open is assumed and recorded."""
    return a >= b if type(a) is int and type(b) is int else assumed((a, ">=", b))


def divides(a: int | Expr, b: int | Expr) -> bool:
    """Whether a divides b and is not 0; for shape rules: what is open is assumed and recorded."""
    return a != 0 and b % a == 0 if type(a) is int and type(b) is int else assumed((a, "divides", b))
