"""Recognise formulas: products, polynomials and affine maps of one value, however they are spelled in layers."""

from __future__ import annotations

import numpy as np

from ..net.net import Layer
from ._graph import Graph

MAX_DEPTH = 8
MAX_DEGREE = 4
#: Constants of a formula as exporters round them, and those of a net in float64, which are what they are but for rounding
TOLERANCE = 2e-5
DOUBLE_TOLERANCE = 1e-14

_PRODUCTS = ("mul", "div", "madd")


def close(a: float, b: float) -> bool:
    """Equal to the precision in which exporters write constants; NumPy float64 are constants of that type."""
    doubles = isinstance(a, np.float64) or isinstance(b, np.float64)
    return abs(a - b) <= (DOUBLE_TOLERANCE if doubles else TOLERANCE) * max(abs(a), abs(b))


def polynomial(graph: Graph, value: str, x: str, depth: int = MAX_DEPTH) -> dict[int, float] | None:
    """Coefficients by degree of a value as a polynomial in `x`; None where it is none.

    Sees through add, sub, mul, div, neg, madd and pow with scalar constants.
    """
    if value == x:
        return {1: 1.0}
    number = graph.scalar(value)
    if number is not None:
        return {0: number * 1.0}
    layer = graph.producer(value)
    if layer is None or depth == 0 or layer.epilogue or layer.kind not in _OPERATIONS:
        return None
    parts = [polynomial(graph, v, x, depth - 1) for v in layer.inputs]
    if any(p is None for p in parts):
        return None
    result = _OPERATIONS[layer.kind](*parts)
    if result is None or max(result, default=0) > MAX_DEGREE:
        return None
    return {d: c for d, c in result.items() if c != 0}


def _add(a, b):
    return {d: a.get(d, 0.0) + b.get(d, 0.0) for d in a.keys() | b.keys()}


def _multiply(a, b):
    result: dict[int, float] = {}
    for i, p in a.items():
        for j, q in b.items():
            result[i + j] = result.get(i + j, 0.0) + p * q
    return result


def _negate(a):
    return {d: -c for d, c in a.items()}


def _divide(a, b):
    number = b.get(0, 0.0)
    return {d: c / number for d, c in a.items()} if set(b) == {0} and number != 0 else None


def _power(a, b):
    exponent = b.get(0, 0.0)
    if set(b) - {0} or exponent not in (1.0, 2.0, 3.0):
        return None
    result = a
    for _ in range(int(exponent) - 1):
        result = _multiply(result, a)
    return result


_OPERATIONS = {
    "add": _add, "sub": lambda a, b: _add(a, _negate(b)), "mul": _multiply, "div": _divide, "pow": _power,
    "neg": _negate, "madd": lambda x, scale, shift: _add(_multiply(x, scale), shift),
}


def same_polynomial(found: dict[int, float] | None, expected: dict[int, float]) -> bool:
    """Equal coefficients, to the precision in which exporters write constants."""
    return found is not None and set(found) == set(expected) and all(close(found[d], c) for d, c in expected.items())


def product(graph: Graph, layer: Layer) -> tuple[float, list[str]] | None:
    """A layer's output as number * value * value ...; None where it is no product.

    Opens the products it is made of as long as nobody else sees them.
    """
    if layer.epilogue or layer.kind not in _PRODUCTS:
        return None
    factors: list[str] = []
    number = 1.0
    pending = [(v, layer.kind == "div" and i == 1, MAX_DEPTH) for i, v in enumerate(_factors(graph, layer) or ())]
    if not pending:
        return None
    while pending:
        value, below, depth = pending.pop()
        constant = graph.scalar(value)
        if constant is not None:
            if below and constant == 0:
                return None
            number = number / constant if below else number * constant
            continue
        if below:
            return None
        inner = graph.made_by(value, *_PRODUCTS)
        opened = _factors(graph, inner) if inner is not None and depth and graph.private(value) else None
        if opened is None:
            factors.append(value)
        else:
            pending += [(v, inner.kind == "div" and i == 1, depth - 1) for i, v in enumerate(opened)]
    return number, factors


def _factors(graph: Graph, layer: Layer) -> tuple[str, ...] | None:
    if layer.kind == "madd":
        return layer.inputs[:2] if graph.scalar(layer.inputs[2]) == 0 else None
    if layer.kind == "div" and graph.scalar(layer.inputs[1]) is None:
        return None
    return layer.inputs


def affine_of(graph: Graph, value: str, *kinds: str) -> tuple[Layer, float, float] | None:
    """(layer of one of the kinds, a, b) where the value is a * layer + b with numbers a, b; None where it is not."""
    scale, shift = 1.0, 0.0
    for _ in range(MAX_DEPTH):
        layer = graph.producer(value)
        if layer is None or layer.epilogue or not graph.private(value):
            return None
        if layer.kind in kinds:
            return layer, scale, shift
        inner = next((v for v in layer.inputs if graph.is_dynamic(v)), None)
        found = polynomial(graph, value, inner, 1) if inner is not None else None
        if found is None or set(found) - {0, 1} or 1 not in found:
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
