"""Cases of softmax, log_softmax, hardmax."""

from __future__ import annotations

from .. import Attrs, Shape, case

_SHAPES: list[tuple[Shape, Attrs]] = [
    ((1, 1000), {}), ((4, 10), {}), ((3, 17), {"axis": 1}), ((1, 1), {}), ((2, 5, 33), {"axis": -1}), ((2, 5, 33), {"axis": 1}),
    ((1, 16, 7, 7), {"axis": 1}), ((3, 21, 4, 5), {"axis": 1}), ((1, 1000, 1, 1), {"axis": 1}), ((1, 3, 8, 8), {"axis": -1}),
    ((2, 3, 4, 5), {"axis": 2}), ((2, 3, 4, 5), {"axis": 0}), ((10,), {"axis": 0}), ((4, 1000), {"axis": 0}), ((64, 64), {})]

CASES = [
    *(case(kind, x, **attrs) for kind in ("softmax", "log_softmax") for x, attrs in _SHAPES),
    *(case("softmax", x, values=("wide",), **attrs) for x, attrs in _SHAPES[:2] + _SHAPES[6:8]),
    *(case("hardmax", x, **attrs) for x, attrs in _SHAPES[1:8]),
    case("hardmax", (3, 17), values=("ties",)), case("softmax", (4, 16), epilogue="add"),
]
