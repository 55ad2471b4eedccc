"""Cases of layers that move elements of any type, and of layers of integers, truth values and floats other than f32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...net.net import TensorSpec
from .. import Case, case

#: One type per size of an element.
MOVED = ("bool", "i16", "f64")
_FAR = 2**63 - 1


def _specs(dtype: str, *shapes: tuple[int, ...]) -> list[TensorSpec]:
    return [TensorSpec(dtype, s) for s in shapes]


#: (kind, shape of each input, attributes): elements of any type.
_MOVES: list[tuple[str, list[tuple[int, ...]], dict[str, Any]]] = [
    ("reshape", [(1, 3, 4, 5)], {"shape": (3, -1)}), ("reshape", [(2, 6)], {"shape": (1, 3, 2, 2)}),
    ("reshape", [(1, 8)], {"shape": (1, 8, 1, 1)}), ("squeeze", [(2, 1, 3, 1)], {"axes": (1, 3)}),
    ("unsqueeze", [(3, 4)], {"axes": (0, 3)}), ("unsqueeze", [(1, 6)], {"axes": (2, 3)}), ("identity", [(2, 3, 4, 5)], {}),
    *(("transpose", [x], {"perm": p}) for x, p in (
        ((33, 65), (1, 0)), ((2, 3, 4, 5), (0, 2, 3, 1)), ((1, 1, 9, 10), (0, 3, 1, 2)), ((4, 5, 6), (2, 0, 1)),
        ((2, 3, 40), (1, 0, 2)), ((7,), (0,)), ((3, 0, 2), (2, 1, 0)), ((1, 4, 1, 6), (0, 2, 3, 1)))),
    *(("concat", shapes, {"axis": a}) for shapes, a in (
        ([(3, 7), (3, 9)], 1), ([(1, 2, 3, 5), (1, 1, 3, 5), (1, 4, 3, 5)], 1), ([(2, 3), (0, 3), (4, 3)], 0),
        ([(2, 4, 3, 5), (2, 4, 3, 2)], -1))),
    ("split", [(4, 9)], {"axis": 1, "sizes": (2, 3, 4)}), ("split", [(1, 6, 4, 3)], {"axis": 1, "sizes": (1, 5)}),
    ("split", [(6, 3)], {"axis": 0, "sizes": (6, 0)}),
    *(("slice", [x], how) for x, how in (
        ((2, 5, 9), {"starts": (-3,), "ends": (_FAR,), "axes": (2,)}), ((6, 7), {"starts": (1, 2), "ends": (-1, 5)}),
        ((4, 10), {"starts": (9,), "ends": (-_FAR,), "axes": (1,), "steps": (-1,)}),
        ((1, 3, 8, 8), {"starts": (0, 7), "ends": (8, 0), "axes": (2, 3), "steps": (2, -3)}),
        ((7, 3), {"starts": (3,), "ends": (3,), "axes": (0,)}))),
    *(("pad", [x], how) for x, how in (
        ((2, 3), {"pads": (1, 0, 0, 2), "value": 7.0}), ((7,), {"pads": (2, 3), "mode": "reflect"}),
        ((1, 3, 5, 4), {"pads": (0, 0, 1, 2, 0, 0, 3, 1), "mode": "edge"}), ((4, 5), {"pads": (1, 2, 3, 1), "mode": "wrap"}),
        ((1, 3, 6, 6), {"pads": (0, 1, -1, 2, 0, 0, 3, -2), "value": 1.0}), ((2, 0), {"pads": (1, 1, 0, 1)}))),
    *(("expand", [x], {"shape": s}) for x, s in (
        ((3, 1), (2, 3, 4)), ((1, 3, 1, 1), (2, 3, 4, 5)), ((), (2, 3)), ((4, 1, 3), (0, 1)))),
    *(("tile", [x], {"repeats": r}) for x, r in (((2, 3), (3, 2)), ((1, 3, 2, 2), (2, 1, 2, 3)), ((4,), (0,)))),
    *(("depth_to_space", [(2, 12, 3, 4)], {"block": 2, "mode": m}) for m in ("DCR", "CRD")),
    ("space_to_depth", [(2, 3, 6, 4)], {"block": 2}),
]


def _moves() -> Iterator[Case]:
    for kind, shapes, attrs in _MOVES:
        for dtype in MOVED:
            yield case(kind, *_specs(dtype, *shapes), **attrs)
    for dtype in ("u8", "f16", "bf16", "i32"):
        yield case("transpose", *_specs(dtype, (9, 13)), perm=(1, 0))
        yield case("pad", *_specs(dtype, (3, 4)), pads=(1, 0, 0, 2))
    yield case("identity", *_specs("i64", ()))
    yield case("identity", (2, 0, 3, 3))
    yield case("concat", (0, 3), (0, 3), axis=0)
    yield case("concat", *_specs("i64", (1, 2, 3, 5), (1, 3, 3, 5)), axis=1, constant=(1,), values=("integral", "integral"))


CASES = [*_moves()]
