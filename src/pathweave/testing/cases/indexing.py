"""Cases of the kinds that pick elements, or make them from shapes."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Shape, case


def _indices(*shape: int, dtype: str = "i64") -> TensorSpec:
    return TensorSpec(dtype, shape)

#: Shape, attributes, values; of topk the number k as well.
_LARGEST: list[tuple[Shape, Attrs, str]] = [
    ((4, 10), {"axis": 1, "keepdims": 0}, ""), ((3, 21, 4, 5), {"axis": 1}, ""), ((2, 5, 9), {"axis": -1}, "ties"),
    ((2, 5, 9), {"axis": 0, "select_last": 1}, "ties"), ((33,), {}, "ties"), ((1, 1000), {"axis": 1}, ""),
    ((2, 5, 9), {"axis": 2, "select_last": 1, "keepdims": 0}, "ties")]
_TOPK: list[tuple[Shape, int, Attrs, str]] = [
    ((1, 1000), 5, {}, ""), ((4, 10), 10, {}, ""), ((3, 21, 4, 5), 3, {"axis": 1}, ""), ((33,), 1, {}, "ties"),
    ((4, 10), 3, {"largest": 0}, "ties"), ((4, 10), 4, {}, "ties"), ((2, 5, 9), 2, {"axis": 1, "largest": 0}, "")]
_PARTS: list[Attrs] = [{}, {"start": 2}, {"start": -2}, {"start": 1, "end": 3}, {"end": -1}]

CASES = [
    *(case("gather", x, i, constant=c, values=("", f"index:{x[a]}"), axis=a) for x, i, a, c in (
        ((7, 5), _indices(4), 0, (1,)), ((7, 5), _indices(2, 3), 1, ()), ((1, 16, 5, 5), _indices(8), 1, (1,)),
        ((7,), _indices(), 0, (1,)), ((2, 3, 4), _indices(5, dtype="i32"), 2, ()), ((30, 16), _indices(2, 5), 0, ()))),
    case("gather", TensorSpec("i64", (4,)), _indices(), axis=0, values=("integral", "index:4")),
    *(case("gather_elements", x, i, values=("", f"index:{x[a]}"), axis=a) for x, i, a in (
        ((7, 5), _indices(4, 5), 0), ((7, 5), _indices(7, 9), 1), ((2, 3, 4), _indices(2, 1, 4, dtype="i32"), -2),
        ((9,), _indices(3), 0))),
    *(case("gather_nd", x, i, values=("", "index:3"), batch=b) for x, i, b in (
        ((5, 4, 3), _indices(6, 2), 0), ((3, 4), _indices(2, 5, 2), 0), ((2, 5, 4, 3), _indices(2, 6, 2), 1),
        ((5, 7), _indices(4, 1), 0), ((2, 3, 4, 5), _indices(2, 3, 2, 1), 2))),
    *(case("where", TensorSpec("bool", c), a, b) for c, a, b in (
        ((1, 16, 7, 7), (1, 16, 7, 7), (1, 16, 7, 7)), ((3, 1), (1, 5), (3, 5)), ((1, 16, 1, 1), (1, 16, 4, 4), ()),
        ((7,), (2, 1), (1,)))),
    *(case(kind, x, values=(v,), **attrs) for kind in ("argmax", "argmin") for x, attrs, v in _LARGEST),
    *(case("topk", x, k=k, values=(v,), **attrs) for x, k, attrs, v in _TOPK),
    case("topk", TensorSpec("i64", (3, 17)), k=4, values=("integral",)),
    *(case("shape", (2, 3, 5, 7), **attrs) for attrs in _PARTS),
    case("shape", ()),
    *(case("constant_of_shape", shape=s, value=v, dtype=t) for s, v, t in (
        ((2, 3), 0.0, "f32"), ((1, 16, 4, 4), 1.5, "f32"), ((4,), 7, "i64"), ((), 1, "i32"), ((3,), 1, "bool"))),
    *(case("range", start=a, limit=b, delta=d, dtype=t) for a, b, d, t in (
        (0, 10, 1, "i64"), (10, 0, -3, "i64"), (0.0, 2.0, 0.25, "f32"), (5, 5, 1, "i32"), (-3, 4, 2, "i32"),
        (1.0, -1.0, -0.5, "f64"))),
]
