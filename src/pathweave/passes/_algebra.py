"""Recognise formulas: products, polynomials and affine maps of one value, however they are spelled in layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

MAX_DEPTH = 8
MAX_DEGREE = 4
#: Constants of a formula as exporters round them, and those of a net in float64, which are what they are but for rounding
TOLERANCE = 2e-5
DOUBLE_TOLERANCE = 1e-14


def close(a: float, b: float) -> bool:
    """Equal to the precision in which exporters write constants; NumPy float64 are constants of that type."""
    doubles = isinstance(a, np.float64) or isinstance(b, np.float64)
    return abs(a - b) <= (DOUBLE_TOLERANCE if doubles else TOLERANCE) * max(abs(a), abs(b))


class _Other(Exception):
    """What comes out is not of the form that is looked for."""


class _Polynomial:
    """Coefficients by degree. Operators raise _Other where the result is no polynomial of a degree up to MAX_DEGREE."""

    def __init__(self, terms: dict[int, float]):
        if max(terms, default=0) > MAX_DEGREE:
            raise _Other
        self.terms = terms

    def __add__(self, other: _Polynomial) -> _Polynomial:
        a, b = self.terms, other.terms
        return _Polynomial({d: a.get(d, 0.0) + b.get(d, 0.0) for d in a.keys() | b.keys()})

    def __neg__(self) -> _Polynomial:
        return _Polynomial({d: -c for d, c in self.terms.items()})

    def __sub__(self, other: _Polynomial) -> _Polynomial:
        return self + -other

    def __mul__(self, other: _Polynomial) -> _Polynomial:
        result: dict[int, float] = {}
        for i, p in self.terms.items():
            for j, q in other.terms.items():
                result[i + j] = result.get(i + j, 0.0) + p * q
        return _Polynomial(result)

    def __truediv__(self, other: _Polynomial) -> _Polynomial:
        number = other.terms.get(0, 0.0)
        if set(other.terms) != {0} or number == 0:
            raise _Other
        return _Polynomial({d: c / number for d, c in self.terms.items()})

    def __pow__(self, other: _Polynomial) -> _Polynomial:
        exponent = other.terms.get(0, 0.0)
        if set(other.terms) - {0} or exponent not in (1.0, 2.0, 3.0):
            raise _Other
        result = self
        for _ in range(int(exponent) - 1):
            result = result * self
        return result


def seen_through(graph: Graph, value: str) -> str:
    """The value before casts that leave a float what it is but for rounding to 16 bits."""
    layer = graph.made_by(value, "cast")
    while layer is not None and layer.attrs.get("dtype") == "f32" and not layer.attrs.get("source") and _is_f32(graph, layer):
        value = layer.inputs[0]
        layer = graph.made_by(value, "cast")
    return value


def _is_f32(graph: Graph, cast: Layer) -> bool:
    """Whether a cast's input is known to be of f32: its spec says so, or it rounds to 16 bits."""
    spec = graph.specs.get(cast.inputs[0])
    return spec.dtype == "f32" if spec is not None else bool(cast.attrs.get("through"))


def polynomial(graph: Graph, value: str, x: str, depth: int = MAX_DEPTH) -> dict[int, float] | None:
    """Coefficients by degree of a value as a polynomial in `x`; None where it is none.

    Sees through the kinds that state a formula, with scalar constants.
    """
    try:
        return _polynomial(graph, value, x, depth, None).terms
    except _Other:
        return None


def _polynomial(graph: Graph, value: str, x: str, depth: int, user: Layer | None) -> _Polynomial:
    if value == x:
        return _Polynomial({1: 1.0})
    number = None if user is None else graph.scalar(value, user)
    if number is not None:
        return _Polynomial({0: number * 1.0})
    before = seen_through(graph, value)
    if before != value:
        return _polynomial(graph, before, x, depth, None)
    layer = graph.bare_producer(value)
    formula = kind_of(layer.kind).formula if layer is not None and depth else None
    if layer is None or formula is None:
        raise _Other
    result = formula(*(_polynomial(graph, v, x, depth - 1, layer) for v in layer.inputs))
    return _Polynomial({d: c for d, c in result.terms.items() if c != 0})


def same_polynomial(found: dict[int, float] | None, expected: dict[int, float]) -> bool:
    """Equal coefficients, to the precision in which exporters write constants."""
    return found is not None and set(found) == set(expected) and all(close(found[d], c) for d, c in expected.items())


class _Product:
    """number * value * value ... Operators raise _Other where the result is no such product."""

    def __init__(self, number: float, values: list[str]):
        self.number, self.values = number, values

    def __mul__(self, other: _Product) -> _Product:
        return _Product(self.number * other.number, [*self.values, *other.values])

    def __truediv__(self, other: _Product) -> _Product:
        if other.values or other.number == 0:
            raise _Other
        return _Product(self.number / other.number, self.values)

    def __add__(self, other: _Product) -> _Product:
        if other.values or other.number != 0:
            raise _Other
        return self

    def _refuse(self, *_: Any) -> _Product:
        raise _Other

    __neg__ = __sub__ = __pow__ = _refuse


def product(graph: Graph, layer: Layer) -> tuple[float, list[str]] | None:
    """A layer's output as number * value * value ...; None where it is no product.

    Opens the products it is made of as long as nobody else sees them.
    """
    try:
        found = _opened(graph, layer, MAX_DEPTH)
    except _Other:
        return None
    return found.number, found.values


def _opened(graph: Graph, layer: Layer, depth: int) -> _Product:
    formula = None if layer.epilogue else kind_of(layer.kind).formula
    if formula is None:
        raise _Other
    factors = [_factor(graph, v, layer) for v in layer.inputs]
    closed = formula(*factors)  # raises for what is no product, before anything is opened
    opened = [_inside(graph, f, depth) for f in factors]
    return closed if all(a is b for a, b in zip(opened, factors)) else formula(*opened)


def _factor(graph: Graph, value: str, user: Layer) -> _Product:
    number = graph.scalar(value, user)
    return _Product(1.0, [value]) if number is None else _Product(number, [])


def _inside(graph: Graph, factor: _Product, depth: int) -> _Product:
    """What a factor that is one value is made of, where nobody else sees it; the factor itself where it is no product."""
    inner = graph.producer(factor.values[0]) if depth and factor.values and graph.private(factor.values[0]) else None
    if inner is None:
        return factor
    try:
        return _opened(graph, inner, depth - 1)
    except _Other:
        return factor


def affine_of(graph: Graph, value: str, *kinds: str) -> tuple[Layer, float, float] | None:
    """(layer of one of the kinds, a, b) where the value is a * layer + b with numbers a, b; None where it is not."""
    scale, shift = 1.0, 0.0
    for _ in range(MAX_DEPTH):
        layer = graph.producer(value)
        if layer is None or layer.epilogue or not graph.private(value):
            return None
        if layer.kind in kinds:
            return layer, scale, shift
        before = seen_through(graph, value)
        if before != value:
            value = before
            continue
        inner = next((v for v in layer.inputs if graph.is_dynamic(v)), None)
        found = polynomial(graph, value, inner, 1) if inner is not None else None
        if inner is None or found is None or set(found) - {0, 1} or 1 not in found:
            return None
        scale, shift = scale * found[1], scale * found.get(0, 0.0) + shift
        value = inner
    return None


def gate(graph: Graph, layer: Layer) -> list[tuple[float, str, str]]:
    """(number, x, other) in both orders where the layer's output is number * x * other; empty where it is not."""
    found = product(graph, layer)
    if found is None or len(found[1]) != 2:
        return []
    number, (a, b) = found
    return [(number, a, b), (number, b, a)]
