"""Sizes as a list of operations, and as a function of Python: brute force against evaluating the expressions."""

from __future__ import annotations

import random

import pytest

from pathweave.net.dim import MOST_SIZE, Expr, ceiling, evaluate, largest, smallest, symbol
from pathweave.net.size_table import SizeTable, function_of

NAMES = ("a", "b", "c")


def expression(r: random.Random, depth: int = 4):
    """A random expression of the symbols; divisors are positive."""
    if depth == 0 or r.random() < 0.2:
        return r.randint(-4, 9) if r.random() < 0.4 else symbol(r.choice(NAMES), 1, 50)
    x, y = expression(r, depth - 1), expression(r, depth - 1)
    word = r.choice(("+", "-", "*", "//", "//n", "ceil", "max", "min"))
    if word in ("//n", "ceil"):
        n = r.randint(1, 6)
        return x // n if word == "//n" else ceiling(x, n)
    if word == "//":
        return x // largest(y, 1)
    return {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "max": lambda: largest(x, y),
            "min": lambda: smallest(x, y)}[word]()


def run(operations, given) -> list[int | None]:
    """What the native core computes, in Python's integers; None for what has no result."""
    found: list[int | None] = []
    symbols = iter(given)
    for word, a, b in operations:
        if word in ("number", "symbol"):
            found.append(a if word == "number" else next(symbols))
            continue
        x, y = found[a], found[b]
        if x is None or y is None or word == "divide" and y == 0:
            found.append(None)
            continue
        found.append({"add": lambda x, y: x + y, "multiply": lambda x, y: x * y, "divide": lambda x, y: x // y, "least": min,
                      "most": max}[word](x, y))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_operations_and_functions_give_what_the_expression_does(seed):
    r = random.Random(seed)
    sizes = [expression(r) for _ in range(4)]
    table = SizeTable({n: (1, 50) for n in NAMES})
    slots = table.slots(sizes)
    function = function_of([sizes], list(NAMES))
    for word, *_ in table.operations[len(NAMES):]:
        assert word not in ("symbol",)
    for _ in range(30):
        at = {n: r.randint(1, 50) for n in NAMES}
        wanted = tuple(evaluate(s, at) if isinstance(s, Expr) else s for s in sizes)
        results = run(table.operations, at.values())
        assert tuple(results[s] for s in slots) == wanted == function(*at.values())[0]


def test_operands_stand_before_and_equal_sizes_have_one_slot():
    r = random.Random(7)
    table = SizeTable({"a": (1, 50), "b": (1, MOST_SIZE)})
    sizes = [expression(r) for _ in range(200)]
    slots = table.slots(sizes)
    assert slots == table.slots(sizes)
    assert table.operations[:2] == [("symbol", 1, 50), ("symbol", 1, MOST_SIZE)]
    for at, (word, a, b) in enumerate(table.operations):
        assert word in ("number", "symbol") or 0 <= a < at and 0 <= b < at


def test_symbols_that_are_found_out_keep_their_bounds():
    table = SizeTable({"a": (1, 9)})
    late = symbol("late", 0, 77)
    slot = table.slot(late + 1)
    assert ("symbol", 0, 77) in table.operations and table.operations[slot][0] == "add"


def test_a_function_of_other_symbols_is_refused():
    with pytest.raises(KeyError, match="b"):
        function_of([[symbol("a"), symbol("b")]], ["a"])


def test_numbers_that_the_native_core_does_not_hold():
    """They become one that it takes for what cannot be computed; all others are as they are."""
    table = SizeTable({"a": (1, 9)})
    numbers = [2**63 - 1, -2**63 + 1, 0, 2**63, -2**63, 2**200, -2**200]
    assert [table.operations[i][1] for i in table.slots(numbers)] == [*numbers[:3], *[-2**63] * 4]
    product = symbol("a", 1, 9) * 2**70 + 1
    table.slot(product)
    assert all(-2**63 <= x < 2**63 for _, *both in table.operations for x in both)
