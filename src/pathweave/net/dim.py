"""Sizes as expressions of symbols: `Expr`, with a canonical form, bounds, comparisons, text, and the conditions of a net.

    Dim      integer | Expr          in the shape of a net's input also a word, which names a symbol
    Expr     sum of products with integer coefficients; factors: symbols, floor quotients, min and max

A floor quotient is written `(H+1)/2`, a product `2*N`, the others `min(N, 3)` and `max(N, M)`. `*` and `/` bind alike, from
left to right. A symbol whose name is no word stands in double quotes. `//` of Python makes a quotient; the ceiling of a / b
is -(-a // b), or `ceiling(a, b)`, and both have one form. A result that does not depend on a symbol is an integer.

An expression never changes. `==` compares canonical forms: equal ones have the same value at all sizes, different ones may
have too; `is_equal` of net/dim_compare.py knows more. What has more than MOST_TERMS terms, is built from more than MOST_NODES
parts, or has a coefficient beyond MOST_COEFFICIENT raises SizeError, so that no model makes a comparison slow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from math import gcd, lcm
from typing import Any, cast

from ..errors import ModelError, OpenSizesError, SizeError

#: The largest dimension.
MOST_SIZE = 2**40
#: Terms of one sum.
MOST_TERMS = 48
#: Symbols, numbers and operations of one expression, those inside its quotients and extremes included.
MOST_NODES = 192
#: Sizes of which one is the largest or the smallest.
MOST_PARTS = 8
#: The largest coefficient: the product of a few sizes at their limit.
MOST_COEFFICIENT = 2**200
#: Up to so many parts, the bounds of a sum are made narrower by those of its quotients.
_RELAXED_NODES = 48
#: ... where the least common multiple of the divisors is no larger.
_MOST_SCALE = 2**20
#: Results of each operation that are kept: layers of one net do the same ones again and again.
_REMEMBERED = 4096


class _Atom:
    """A factor: a symbol, a quotient or an extreme. `key`: its text, with the bounds of symbols that are not the usual ones."""

    __slots__ = ("key", "low", "high", "nodes", "_hash")

    def __init__(self, key: str, low: int, high: int, nodes: int):
        self.key, self.low, self.high, self.nodes, self._hash = key, low, high, nodes, hash(key)

    def __eq__(self, other: object) -> bool:
        return self is other or isinstance(other, _Atom) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash


class _Symbol(_Atom):
    __slots__ = ("name",)

    def __init__(self, name: str, low: int, high: int):
        usual = (low, high) == (1, MOST_SIZE)
        super().__init__(quoted(name) + ("" if usual else f"[{low}..{high}]"), low, high, 1)
        self.name = name


class Quotient(_Atom):
    """floor(over / under)."""

    __slots__ = ("over", "under")

    def __init__(self, over: Expr, under: int | Expr):
        low, high = _quotient_bounds(over, under)
        super().__init__(f"{_inner(over, True)}/{_inner(under, True)}", low, high, 1 + over.nodes + _nodes(under))
        self.over, self.under = over, under


class Extreme(_Atom):
    """`word` (min or max) of parts."""

    __slots__ = ("word", "parts")

    def __init__(self, word: str, parts: tuple[int | Expr, ...]):
        pick = max if word == "max" else min
        super().__init__(f"{word}({', '.join(_text(p, True) for p in parts)})", pick(lowest(p) for p in parts),
                         pick(highest(p) for p in parts), 1 + sum(map(_nodes, parts)))
        self.word, self.parts = word, parts


_Factor = _Symbol | Quotient | Extreme
#: Factors in the order of their keys; () for the constant term.
_Product = tuple[_Factor, ...]


class Expr:
    """A size that depends on symbols: a sum of products of factors, in canonical form. Immutable and hashable.

    `low`, `high`: bounds of the value, from those of the symbols. Takes + - * and // with integers and other expressions;
    // is Python's floor. Raises SizeError for what grows too large, ZeroDivisionError for a division by 0.
    """

    __slots__ = ("terms", "low", "high", "nodes", "_hash")

    def __init__(self, terms: tuple[tuple[_Product, int], ...], low: int, high: int, nodes: int):
        self.terms, self.low, self.high, self.nodes = terms, low, high, nodes
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        return self is other or isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return _sum_text(self.terms, False)

    def __repr__(self) -> str:
        return f"<Expr {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from .dim_text import parse
        return parse, (str(self), {s.name: (s.low, s.high) for s in symbols_of(self)})

    def __bool__(self) -> bool:
        raise TypeError(f"whether the size {self} is 0 is not known")

    def __add__(self, other: int | Expr) -> int | Expr:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: int | Expr) -> int | Expr:
        return _sum(self, other, -1)

    def __rsub__(self, other: int | Expr) -> int | Expr:
        return _sum(-self, other, 1)

    def __neg__(self) -> Expr:
        return cast(Expr, _scaled(self, -1))

    def __mul__(self, other: int | Expr) -> int | Expr:
        return _multiplied(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: int | Expr) -> int | Expr:
        return _divided(self, other) if _is_dim(other) else NotImplemented

    def __rfloordiv__(self, other: int | Expr) -> int | Expr:
        return _divided(other, self) if _is_dim(other) else NotImplemented

    def __mod__(self, other: int | Expr) -> int | Expr:
        return self - _divided(self, other) * other if _is_dim(other) else NotImplemented

    def __rmod__(self, other: int | Expr) -> int | Expr:
        return other - _divided(other, self) * self if _is_dim(other) else NotImplemented


# ---- making expressions ---------------------------------------------------------------------------------------------

@lru_cache(maxsize=4096)
def symbol(name: str, low: int = 1, high: int = MOST_SIZE) -> Expr:
    """The size of this name, between bounds that are included. Equal name and bounds give the same object."""
    if not name or low >= high:
        raise ModelError(f"symbol {name!r} from {low} to {high}: expected a name, and bounds that differ and rise")
    return cast(Expr, _made({(_Symbol(name, low, high),): 1}))


#: What names of unknown sizes start with. Models have symbols such as ?1.
_UNKNOWN = "(unknown) "
_unknowns = count(1)


def unknown(low: int = 0, high: int = MOST_SIZE) -> int | Expr:
    """A symbol that equals no other: a size of which only the bounds are known, such as one that depends on contents."""
    return symbol.__wrapped__(f"{_UNKNOWN}{next(_unknowns)}", low, high) if low < high else low


def is_unknown(size: int | Expr) -> bool:
    """True for what `unknown` has made, and for what was made of it."""
    return isinstance(size, Expr) and any(s.name.startswith(_UNKNOWN) for s in symbols_of(size))


def as_dim(size: int | str | Expr) -> int | Expr:
    """A dimension of a declared shape: a word is the symbol of that name."""
    return symbol(size) if isinstance(size, str) else size


def ceiling(a: int | Expr, b: int | Expr) -> int | Expr:
    """The ceiling of a / b."""
    return -(-a // b)


def largest(*sizes: int | Expr) -> int | Expr:
    """The largest of some sizes."""
    return _extreme("max", sizes)


def smallest(*sizes: int | Expr) -> int | Expr:
    """The smallest of some sizes."""
    return _extreme("min", sizes)


def _is_dim(x: object) -> bool:
    return isinstance(x, (int, Expr)) and not isinstance(x, bool)


def terms_of(x: int | Expr) -> tuple[tuple[_Product, int], ...]:
    """(factors, coefficient) of every term of a size."""
    return x.terms if isinstance(x, Expr) else (((), x),)


def _nodes(x: int | Expr) -> int:
    return x.nodes if isinstance(x, Expr) else 1


def lowest(x: int | Expr) -> int:
    """The least value that a size may have."""
    return x.low if isinstance(x, Expr) else x


def highest(x: int | Expr) -> int:
    """The largest value that a size may have."""
    return x.high if isinstance(x, Expr) else x


def _order(term: tuple[_Product, int]) -> tuple:
    """Products of many factors first, the constant last."""
    product = term[0]
    return -len(product), tuple(a.key for a in product)


def _made(terms: dict[_Product, int]) -> int | Expr:
    """A sum from its terms: an integer where nothing else is left."""
    kept = sorted(((p, c) for p, c in terms.items() if c), key=_order)
    if not kept or kept[0][0] == ():
        return kept[0][1] if kept else 0
    nodes = sum(1 + sum(a.nodes for a in p) for p, _ in kept)
    if len(kept) > MOST_TERMS or nodes > MOST_NODES or any(abs(c) > MOST_COEFFICIENT for _, c in kept):
        raise SizeError(f"a size would be a sum of {len(kept)} terms with {nodes} parts: expected at most {MOST_TERMS} "
                        f"terms, {MOST_NODES} parts and coefficients up to 2^200; bind the shapes of the inputs first")
    low = high = 0
    for product, c in kept:
        least, most = _product_bounds(product)
        low, high = (low + c * least, high + c * most) if c > 0 else (low + c * most, high + c * least)
    if len(kept) > 1 and nodes <= _RELAXED_NODES:
        low, high = max(low, _relaxed(kept, 1, low)), min(high, -_relaxed(kept, -1, -high))
    return low if low == high else Expr(tuple(kept), low, high, nodes)


def _relaxed(terms: list[tuple[_Product, int]], sign: int, found: int) -> int:
    """A lower bound of sign * sum by linear ones of its quotients, (x - b + 1) / b <= floor(x / b) <= x / b; else `found`.

    Bounds of T and T/2 alone do not say that T - T/2 is positive.
    """
    quotients = [p[0].under for p, _ in terms if len(p) == 1 and isinstance(p[0], Quotient) and isinstance(p[0].under, int)]
    scale = lcm(*quotients)
    if not quotients or scale > _MOST_SCALE:
        return found
    total: int | Expr = 0
    for product, c in terms:
        c, atom = sign * c, product[0] if len(product) == 1 else None
        try:
            if isinstance(atom, Quotient) and isinstance(atom.under, int):
                total = total + (atom.over - (atom.under - 1 if c > 0 else 0)) * (scale // atom.under * c)
            else:
                total = total + _made({product: c * scale})
        except SizeError:
            return found
    return -(-lowest(total) // scale)


def _product_bounds(product: _Product) -> tuple[int, int]:
    low = high = 1
    for a in product:
        ends = (low * a.low, low * a.high, high * a.low, high * a.high)
        low, high = min(ends), max(ends)
    return low, high


@lru_cache(maxsize=_REMEMBERED)
def _sum(a: Expr, b: int | Expr, sign: int) -> int | Expr:
    if not _is_dim(b):
        return NotImplemented
    terms = dict(a.terms)
    for product, c in terms_of(b):
        terms[product] = terms.get(product, 0) + sign * c
    return _made(terms)


@lru_cache(maxsize=_REMEMBERED)
def _scaled(a: int | Expr, factor: int) -> int | Expr:
    return _made({p: c * factor for p, c in a.terms}) if isinstance(a, Expr) else a * factor


@lru_cache(maxsize=_REMEMBERED)
def _multiplied(a: Expr, b: int | Expr) -> int | Expr:
    if not _is_dim(b):
        return NotImplemented
    if isinstance(b, int):
        return _scaled(a, b)
    terms: dict[_Product, int] = {}
    for p, c in a.terms:
        for q, d in b.terms:
            product = tuple(sorted((*p, *q), key=lambda x: x.key))
            terms[product] = terms.get(product, 0) + c * d
    return _made(terms)


@lru_cache(maxsize=_REMEMBERED)
def _extreme(word: str, sizes: tuple[int | Expr, ...]) -> int | Expr:
    """Without what another one is always beyond, or equal to."""
    parts: dict[int | Expr, None] = {}
    for size in sizes:
        parts.update(dict.fromkeys(_members(word, size)))
    sign, kept = (1 if word == "max" else -1), list(parts)
    if len(kept) > MOST_PARTS:
        raise SizeError(f"the {word} of {len(kept)} sizes: expected at most {MOST_PARTS}; bind the shapes of the inputs first")
    names = {part: symbols_of(part) for part in kept}
    for part in tuple(kept):
        if any(other is not part and _is_beyond(other, part, sign, names[other].isdisjoint(names[part])) for other in kept):
            kept.remove(part)
    if len(kept) == 1:
        return kept[0]
    number = min(dict(terms_of(part)).get((), 0) for part in kept)
    if number and all(isinstance(part, Expr) for part in kept):  # max(a+1, b+1) is max(a, b)+1
        return _extreme(word, tuple(part - number for part in kept)) + number
    return _made({(Extreme(word, tuple(sorted(kept, key=lambda p: _text(p, True)))),): 1})


def _members(word: str, size: int | Expr) -> tuple[int | Expr, ...]:
    """The parts of an extreme of this word, each with the number that the size adds: max(a, b) + 1 is max(a+1, b+1)."""
    if isinstance(size, Expr) and len(size.terms) <= 2:
        product, c = size.terms[0]
        number = dict(size.terms[1:]).get((), 0)
        atom = product[0] if c == 1 and len(product) == 1 and len(size.terms) == 1 + bool(number) else None
        if isinstance(atom, Extreme) and atom.word == word:
            return tuple(part + number for part in atom.parts)
    return (size,)


def _is_beyond(a: int | Expr, b: int | Expr, sign: int, apart: bool) -> bool:
    """Whether sign * a >= sign * b at all sizes; `apart`: they have no symbol in common, so that bounds say all."""
    if apart:
        return lowest(a) >= highest(b) if sign > 0 else highest(a) <= lowest(b)
    return a in _members("min" if sign > 0 else "max", b) or lowest(_scaled(a - b, sign)) >= 0  # max(min(a, c), a) is a


# ---- quotients ------------------------------------------------------------------------------------------------------

@lru_cache(maxsize=_REMEMBERED)
def _divided(a: int | Expr, b: int | Expr) -> int | Expr:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int):
        if b == 0:
            raise ZeroDivisionError(f"{a} / 0")
        return _by_number(dict(terms_of(a)), b) if b > 0 else _by_number(dict(terms_of(-a)), -b)
    return _by_expression(-a, -b) if b.high < 0 else _by_expression(a, b)


def _by_number(terms: dict[_Product, int], b: int) -> int | Expr:
    """floor(sum / b) for b > 0: what b divides comes out, and the first term that is left is positive."""
    constant = terms.pop((), 0)
    whole: dict[_Product, int] = {(): constant // b}
    rest: dict[_Product, int] = {}
    for product, c in terms.items():
        quotient = abs(c) // b * (1 if c > 0 else -1)
        whole[product] = quotient
        if c != quotient * b:
            rest[product] = c - quotient * b
    constant %= b
    if not rest:
        return _made(whole)
    if min(rest.items(), key=_order)[1] < 0:  # floor(x / b) = -floor((b - 1 - x) / b)
        return _made(whole) - _reduced({p: -c for p, c in rest.items()}, b - 1 - constant, b)
    return _made(whole) + _reduced(rest, constant, b)


def _reduced(rest: dict[_Product, int], constant: int, b: int) -> int | Expr:
    """floor((rest + constant) / b) with common divisors taken out; 0 <= constant < b."""
    divisor = gcd(b, *rest.values())
    b, constant = b // divisor, constant // divisor
    over = _made({**{p: c // divisor for p, c in rest.items()}, (): constant})
    if isinstance(over, int) or over.low // b == over.high // b:
        return lowest(over) // b
    inner = _lone_quotient(over, constant)
    if inner is not None:  # floor((floor(x / d) + k) / b) = floor((x + k d) / (b d))
        return _divided(inner.over + inner.under * constant, inner.under * b)
    return _made({(Quotient(over, b),): 1})


def _lone_quotient(x: Expr, constant: int) -> Quotient | None:
    """The quotient of a positive divisor of which x is the sum with a constant."""
    product, c = x.terms[0]
    atom = product[0] if len(x.terms) == 1 + bool(constant) and c == 1 and len(product) == 1 else None
    return atom if isinstance(atom, Quotient) and lowest(atom.under) >= 1 else None


def _by_expression(a: int | Expr, b: Expr) -> int | Expr:
    if b.low < 1:
        return _open_quotient(a, b)
    factor, rest = _parts_of(a, b)
    if lowest(rest) >= 0 and lowest(b - rest) >= 1:
        return factor
    if lowest(-rest) >= 1 and lowest(b + rest) >= 0:
        return factor - 1
    over, under = _cancelled(rest, b)
    if isinstance(under, int):
        return factor + _divided(over, under)
    if isinstance(over, Expr) and (inner := _lone_quotient(over, 0)) is not None:
        return factor + _divided(inner.over, inner.under * under)
    return factor + _open_quotient(over, under)


def _open_quotient(over: int | Expr, under: Expr) -> int | Expr:
    over = over if isinstance(over, Expr) else _number(over)
    atom = Quotient(over, under)
    return atom.low if atom.low == atom.high and under.low >= 1 else _made({(atom,): 1})


def _number(value: int) -> Expr:
    """An integer in the form of an expression: the dividend of a quotient."""
    return Expr((((), value),), value, value, 1)


def _parts_of(a: int | Expr, b: Expr) -> tuple[int | Expr, int | Expr]:
    """(q, r) with a = q b + r: all terms that the first term of b divides, where that leaves less."""
    if len(b.terms) == 1:
        (product, c), = b.terms
        q, r = {}, {}
        for p, d in terms_of(a):
            left = _without(p, product)
            if left is None or d % c:
                r[p] = d
            else:
                q[left] = d // c
        return _made(q), _made(r)
    quotient, rest = _long_division(a, b)
    if rest == 0:
        return quotient, 0
    first = b.terms[0]
    factor = next((d // first[1] for p, d in terms_of(a) if p == first[0] and d % first[1] == 0), 0)
    return (factor, a - b * factor) if factor else (0, a)


def _long_division(a: int | Expr, b: Expr) -> tuple[int | Expr, int | Expr]:
    """(q, r) with a = q b + r, as polynomials are divided; stops when nothing is left or the first term of b divides none."""
    product, c = b.terms[0]
    quotient: int | Expr = 0
    for _ in range(MOST_TERMS):
        found = next(((left, d // c) for p, d in terms_of(a)
                      if d % c == 0 and (left := _without(p, product)) is not None), None)
        if found is None or a == 0:
            break
        term = _made({found[0]: found[1]})
        quotient, a = quotient + term, a - b * term
    return quotient, a


def _without(product: _Product, factors: _Product) -> _Product | None:
    """A product divided by some of its factors; None where it lacks one."""
    left = list(product)
    for a in factors:
        if a not in left:
            return None
        left.remove(a)
    return tuple(left)


def _cancelled(a: int | Expr, b: Expr) -> tuple[int | Expr, int | Expr]:
    """Both sides without common factors that are positive."""
    terms = [*terms_of(a), *b.terms]
    divisor = gcd(*(c for _, c in terms))
    for atom in terms[-1][0] if all(p for p, _ in terms) else ():
        if atom.low >= 1 and all(atom in p for p, _ in terms):
            terms = [(_without(p, (atom,)) or (), c) for p, c in terms]
    count = len(terms_of(a))
    over, under = (_made({p: c // divisor for p, c in part}) for part in (terms[:count], terms[count:]))
    return over, under


def _quotient_bounds(over: Expr, under: int | Expr) -> tuple[int, int]:
    low, high = lowest(under), highest(under)
    if low <= 0 <= high:  # of -1 or 1, the largest magnitude
        most = max(abs(over.low), abs(over.high))
        return -most, most
    ends = [x // y for x in (over.low, over.high) for y in (low, high)]
    return min(ends), max(ends)


# ---- values ---------------------------------------------------------------------------------------------------------

def symbols_of(size: int | Expr) -> set[_Symbol]:
    """The symbols of a size; each has `name`, `low` and `high`."""
    found: set[_Symbol] = set()
    pending = [size]
    while pending:
        for product, _ in terms_of(pending.pop()):
            for a in product:
                if isinstance(a, _Symbol):
                    found.add(a)
                elif isinstance(a, Quotient):
                    pending += (a.over, a.under)
                else:
                    pending += a.parts
    return found


def substitute(size: int | Expr, sizes: Mapping[str, int | Expr]) -> int | Expr:
    """A size with some of its symbols replaced. Raises ZeroDivisionError, SizeError."""
    if not isinstance(size, Expr):
        return size
    total: int | Expr = 0
    for product, c in size.terms:
        value: int | Expr = c
        for a in product:
            value = value * _replaced(a, sizes)
        total = total + value
    return total


def _replaced(a: _Factor, sizes: Mapping[str, int | Expr]) -> int | Expr:
    if isinstance(a, _Symbol):
        return sizes[a.name] if a.name in sizes else _made({(a,): 1})
    if isinstance(a, Quotient):
        return substitute(a.over, sizes) // substitute(a.under, sizes)
    return _extreme(a.word, tuple(substitute(p, sizes) for p in a.parts))


def evaluate(size: int | Expr, sizes: Mapping[str, int]) -> int:
    """The value of a size, given those of its symbols. Raises OpenSizesError where one is missing, ZeroDivisionError."""
    value = substitute(size, sizes)
    if isinstance(value, Expr):
        names = sorted({s.name for s in symbols_of(value)})
        raise OpenSizesError(f"the size {size} depends on {', '.join(map(repr, names))}, which are not given", names)
    return value


def highest_at(size: int | Expr, sizes: Mapping[str, int | Expr]) -> int:
    """The largest value that a size may have where some of its symbols are known; the largest of all where they divide by 0."""
    try:
        return highest(substitute(size, sizes))
    except ZeroDivisionError:
        return MOST_SIZE


def shape_at(shape: tuple[int | Expr, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with its sizes evaluated; see `evaluate`."""
    return tuple(evaluate(d, sizes) if isinstance(d, Expr) else d for d in shape)


# ---- text -----------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W\d][\w.:]*")


def quoted(name: str) -> str:
    """A symbol's name as a text of sizes has it: in double quotes where it is no word."""
    if _WORD.fullmatch(name) and name not in ("min", "max"):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(x: int | Expr, full: bool) -> str:
    return _sum_text(x.terms, full) if isinstance(x, Expr) else str(x)


def _inner(x: int | Expr, full: bool) -> str:
    """The text of an operand of a quotient: in parentheses unless it is a number or a symbol."""
    text = _text(x, full)
    return text if text.isdigit() or isinstance(x, Expr) and _is_simple(x) else f"({text})"


def _is_simple(x: Expr) -> bool:
    product, c = x.terms[0]
    return len(x.terms) == 1 and c == 1 and len(product) == 1 and not isinstance(product[0], Quotient)


def _atom_text(a: _Factor, full: bool) -> str:
    if isinstance(a, _Symbol):
        return a.key if full else quoted(a.name)
    if isinstance(a, Quotient):
        return f"{_inner(a.over, full)}/{_inner(a.under, full)}"
    return f"{a.word}({', '.join(_text(p, full) for p in a.parts)})"


def _sum_text(terms: tuple[tuple[_Product, int], ...], full: bool) -> str:
    """The text of a sum, a positive term first where there is one; `full`: with the bounds of symbols, for keys."""
    first = next((i for i, (_, c) in enumerate(terms) if c > 0), 0)
    parts = []
    for product, c in (terms[first], *terms[:first], *terms[first + 1:]):
        factors = [_atom_text(a, full) for a in product]
        if len(product) + (abs(c) != 1) > 1:
            factors = [f"({t})" if isinstance(a, Quotient) else t for a, t in zip(product, factors)]
        if abs(c) != 1 or not product:
            factors.insert(0, str(abs(c)))
        parts.append(("-" if c < 0 else "+") + "*".join(factors))
    return "".join(parts).removeprefix("+")
