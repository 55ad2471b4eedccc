"""Sizes as expressions: brute force over random expressions against Python's integers."""

from __future__ import annotations

import itertools
import pickle
import random

import pytest

from pathweave.errors import InputError, ModelError, OpenSizesError, SizeError
from pathweave.net.conditions import (
    Condition,
    Relation,
    at_least,
    divides,
    equal,
    facts,
    one_or_equal,
    recording,
    strongest,
    surely_equal,
)
from pathweave.net.dim import (
    MOST_SIZE,
    MOST_TERMS,
    Expr,
    ceiling,
    evaluate,
    highest,
    largest,
    lowest,
    smallest,
    substitute,
    symbol,
    symbols_of,
)
from pathweave.net.dim_compare import is_at_least, is_equal, is_less
from pathweave.net.dim_text import parse

N, M, H, W, C = (symbol(name) for name in "NMHWC")
NAMES = ("a", "b", "c")
HIGH = 12  # of the symbols of random expressions: few enough to try all


class Random:
    """A random expression, and the function that computes it on integers."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.symbols = {n: symbol(n, low, HIGH) for n, low in zip(NAMES, (1, 0, -3))}

    def __call__(self, depth: int = 4):
        r = self.random
        if depth == 0 or r.random() < 0.15:
            if r.random() < 0.4:
                value = r.randint(-5, 9)
                return value, lambda at: value
            name = r.choice(NAMES)
            return self.symbols[name], lambda at: at[name]
        word = r.choice(("+", "-", "*", "//", "//", "//n", "max", "min", "ceil", "mod"))
        x, f = self(depth - 1)
        y, g = self(depth - 1)
        if word in ("//n", "ceil", "mod"):
            n = r.randint(1, 6)
            if word == "ceil":
                return ceiling(x, n), lambda at: -(-f(at) // n)
            return (x // n, lambda at: f(at) // n) if word == "//n" else (x % n, lambda at: f(at) % n)
        if word == "//":  # by something positive
            y, g = (largest(y, 1), (lambda g: lambda at: max(g(at), 1))(g)) if r.random() < 0.7 else (r.randint(1, 5), None)
            divisor = g or (lambda at, y=y: y)
            return x // y, lambda at: f(at) // divisor(at)
        return {"+": (lambda: (x + y, lambda at: f(at) + g(at))), "-": (lambda: (x - y, lambda at: f(at) - g(at))),
                "*": (lambda: (x * y, lambda at: f(at) * g(at))),
                "max": (lambda: (largest(x, y), lambda at: max(f(at), g(at)))),
                "min": (lambda: (smallest(x, y), lambda at: min(f(at), g(at))))}[word]()

    def draw(self):
        while True:
            try:
                return self()
            except SizeError:
                continue

    def places(self, count: int):
        for _ in range(count):
            yield {n: self.random.randint(s.low, s.high) for n, s in self.symbols.items()}


@pytest.mark.parametrize("seed", range(16))
def test_values_bounds_and_text_of_random_expressions(seed):
    draw = Random(seed)
    bounds = {n: (s.low, s.high) for n, s in draw.symbols.items()}
    opened = 0
    for _ in range(25):
        x, f = draw.draw()
        opened += isinstance(x, Expr)
        for at in draw.places(20):
            value = f(at)
            assert evaluate(x, at) == value, f"{x} at {at}"
            assert lowest(x) <= value <= highest(x), f"{x} is {value} at {at}"
            part = substitute(x, {"b": at["b"]})
            assert evaluate(part, at) == value, f"{x} at b={at['b']} is {part}"
        assert parse(str(x), bounds) == x, str(x)
        again = pickle.loads(pickle.dumps(x))
        assert again == x and hash(again) == hash(x)
    assert opened > 10


@pytest.mark.parametrize("seed", range(10))
def test_comparisons_of_random_expressions_are_never_wrong(seed):
    draw = Random(1000 + seed)
    every = [dict(zip(NAMES, values)) for values in itertools.product(*(range(s.low, s.high + 1)
                                                                        for s in draw.symbols.values()))]
    known = 0
    pool = [draw.draw() for _ in range(8)]
    pool += [(x + 1, lambda at, f=f: f(at) + 1) for x, f in pool[:2]]
    pool += [(-(-x // 2), lambda at, f=f: -(-f(at) // 2)) for x, f in pool[2:4]]
    for (x, f), (y, g) in itertools.combinations_with_replacement(pool, 2):
        try:
            verdicts = is_equal(x, y), is_at_least(x, y), is_less(x, y)
        except SizeError:
            continue
        signs = {(a > b) - (a < b) for a, b in ((f(at), g(at)) for at in every)}
        if x == y:
            assert signs == {0} and verdicts[0] is True, f"{x} and {y}"
        for verdict, holding in zip(verdicts, ({0}, {0, 1}, {-1})):
            known += verdict is not None
            assert verdict is not True or signs <= holding, f"{x} and {y}: {signs}"
            assert verdict is not False or not signs & holding, f"{x} and {y}: {signs}"
    assert known


@pytest.mark.parametrize(("got", "wanted"), [
    ((2 * N + 4) // 2, N + 2), ((N // 2) // 3, N // 6), ((N // 2 + 1) // 3, (N + 2) // 6), (-(-N // 2), (N + 1) // 2),
    (ceiling(N, 2), (N + 1) // 2), (ceiling(ceiling(N, 2), 2), (N + 3) // 4), (largest(N, 1), N), (largest(N, 0), N),
    (smallest(N, 1), 1), (smallest(N, MOST_SIZE), N), (largest(N, N + 1, M), largest(M, N + 1)), (N - N, 0), (0 * N, 0),
    (N * C * H * W // N, C * H * W), (N * C // C, N), ((N * C + C) // C, N + 1), ((N * C + N) // (2 * N), (C + 1) // 2),
    (N * (C + H) // (C + H), N), (3 * (N + 1) // (N + 1), 3), ((N + M) * 2 // (2 * N + 2 * M), 1), ((N - 1) // N, 0),
    ((4 * N + 2) // 6, (2 * N + 1) // 3), (largest(N, M), largest(M, N)), (largest(largest(N, M), C), largest(C, N, M)),
    ((N + M) % 1, 0), ((4 * N + 3) % 4, 3), (5 // largest(N, 6), 0), (N // -2, -((N + 1) // 2)), ((N // M) // 3, N // (3 * M)),
    (largest(smallest(N, 512), N), N), (smallest(largest(N, M), C, N), smallest(N, C)),
    (largest(0, largest(0, N - 2) - 2), largest(0, N - 4)), (smallest(smallest(N, M) + 3, M + 9), smallest(N, M) + 3),
    (largest(smallest(N, M) - 1, 0), largest(0, smallest(N, M) - 1)), (largest(N + 1, M + 2), largest(N, M + 1) + 1),
    (N * M - M * N, 0), (symbol("x", 3, 4) // 2 * 0 + 1, 1), (symbol("x", 4, 5) // 2, 2),
])
def test_canonical_form(got, wanted):
    assert got == wanted and type(got) is type(wanted) and hash(got) == hash(wanted) and is_equal(got, wanted) is True


@pytest.mark.parametrize(("size", "text"), [
    ((H + 1) // 2, "(H+1)/2"), (2 * N, "2*N"), (N * H - 1, "H*N-1"), (3 - N, "3-N"), (-N, "-N"), (N * (H // 2), "(H/2)*N"),
    (2 * N // 3, "(2*N)/3"), (smallest(N, 3), "min(3, N)"), (largest(N, M) + 1, "max(M, N)+1"), (N // M, "N/M"),
    ((N // 2) // M, "N/(2*M)"), (symbol("batch size") * 2, '2*"batch size"'), (symbol("max") + 1, '"max"+1'),
    (symbol("N+1"), '"N+1"'), (symbol('a"\\b'), '"a\\"\\\\b"'), (symbol("größe"), "größe"), (symbol("1"), '"1"'),
    (symbol("x.1:y"), "x.1:y"), (N - M // 2 * 3, "N-3*(M/2)"),
])
def test_text(size, text):
    assert str(size) == text and parse(text) == size


@pytest.mark.parametrize(("text", "value"), [
    ("7/2", 3), ("-7/2", -3), ("(-7)/2", -4), ("2*3/4", 1), ("2*(3/4)", 0), (" ( 1 + 2 ) * 3 ", 9), ("--4", 4),
    ("min(3, 1, 2)", 1), ("max(5)", 5), ("H/2*2", (H // 2) * 2), ("-H/2", -(H // 2)),
    ("(-H)/2", -((H + 1) // 2)), ("H - 1 - 1", H - 2),
])
def test_parse(text, value):
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "  ", "N+", "(N", "N)", "N N", "min()", "min(N,)", "min N", "1/0", "N/0", '"', '""', "?",
                                  "2N", "9" * 50, "(" * 5000, "-" * 5000, "max(" * 300, "N//2", "a b", "2*-3"])
def test_what_is_no_size(text):
    with pytest.raises((InputError, SizeError)):
        parse(text)


def test_equality_beyond_the_form():
    """Forms that differ and values that do not: all remainders by the divisors are looked at."""
    halves = N // 2 + (N + 1) // 2
    assert halves != N and is_equal(halves, N) is True
    assert is_equal(N - N // 2, ceiling(N, 2)) is True
    assert is_equal(2 * N, 2 * M + 1) is None  # bounds say nothing, and no quotient asks for remainders
    assert is_equal(N // 3 + (N + 1) // 3 + (N + 2) // 3, N) is True
    assert is_equal(N, M) is None and is_equal(N, N + 1) is False and is_equal(N, 0) is False
    assert is_equal((N // 2) * 2, N) is None


def test_comparisons():
    assert is_at_least(N, 1) is True and is_at_least(N, 2) is None and is_less(N, 1) is False and is_less(N - 1, N) is True
    assert is_at_least(N * M, 1) is True and is_at_least(-N, 0) is False and is_at_least(3, 3) is True


def test_symbols():
    assert symbol("N") is N and symbol("N", 0, 5) != N and {s.name for s in symbols_of((N + M) // largest(C, M))} == set("NMC")
    for wrong in (("", 1, 2), ("N", 3, 3), ("N", 4, 3)):
        with pytest.raises(ModelError):
            symbol(*wrong)
    with pytest.raises(OpenSizesError, match="depends on 'M'"):
        evaluate(N + M, {"N": 3})
    with pytest.raises(TypeError):
        bool(N)
    with pytest.raises(ZeroDivisionError):
        N // 0


def test_size_is_limited():
    """What a hostile model may build is refused before it takes long."""
    many = [symbol(f"s{i}") for i in range(MOST_TERMS + 1)]
    with pytest.raises(SizeError, match="terms"):
        sum(many[1:], many[0])
    product = sum(many[1:9], many[0])
    with pytest.raises(SizeError):
        product * product * product
    x = N
    with pytest.raises(SizeError):
        for i in range(10_000):
            x = largest(x, M + i) // (C + i) + 1
    with pytest.raises(SizeError):
        for _ in range(10_000):
            x = x * N
    with pytest.raises(SizeError):
        for _ in range(10_000):
            x = x + x
    with pytest.raises(SizeError):
        for i in range(10_000):
            x = smallest(x, C * i + symbol(f"t{i}"))


def test_conditions():
    found: list[Condition] = []
    with recording(found):
        assert equal(3, 3) and not equal(3, 4) and equal(N, N) and not equal(N, N + 1)
        assert at_least(N, 1) and not at_least(-N, 0)
        assert divides(3, 3 * N) and not divides(0, 3) and not divides(2, 2 * N + 1)
        assert not found
        assert equal(N, M) and at_least(N, 5) and divides(3, N)
    assert equal(N, C)  # nobody records
    assert [str(c) for c in found] == ["N == M", "N >= 5", "3 divides N"]
    assert found[0].holds({"N": 2, "M": 2}) and not found[0].holds({"N": 2, "M": 3})
    assert found[1].holds({"N": 5}) and not found[1].holds({"N": 4})
    assert found[2].holds({"N": 6}) and not found[2].holds({"N": 7})
    either = Condition((Relation(N, "==", M), Relation(N, "==", 1)))
    assert str(either) == "N == M or N == 1" and either.holds({"N": 1, "M": 5}) and not either.holds({"N": 2, "M": 5})


def test_facts():
    widest = largest(N, M)
    known = [Condition([Relation(widest, "==", N)]), Condition([Relation(M, "==", 1), Relation(M, "==", widest)]),
             Condition([Relation(H, "==", W), Relation(H, "==", C)]), Condition([Relation(W, ">=", C)])]
    assert not surely_equal(widest, N) and not one_or_equal(M, N) and one_or_equal(1, N) and surely_equal(N, N)
    with facts(known):
        assert surely_equal(widest, N) and surely_equal(N, widest) and one_or_equal(M, N) and one_or_equal(M, widest)
        assert not surely_equal(M, N) and not one_or_equal(N, M)
        assert not surely_equal(H, W) and not one_or_equal(H, W) and not one_or_equal(W, C) and not surely_equal(W, C)
    assert not surely_equal(widest, N)


def test_only_the_strongest_conditions_are_shown():
    found: list[Condition] = []
    with recording(found):
        assert all(at_least(N, n) for n in (2, 7, 5)) and at_least(N + M, 7) and at_least(9, N) and at_least(8, N)
        assert divides(3, N) and equal(N, M) and at_least(2**63 - 1, N * M * C)
    assert len(found) == 9 and [str(c) for c in strongest(found)] == ["N >= 7", "M+N >= 7", "8 >= N", "3 divides N", "N == M"]
