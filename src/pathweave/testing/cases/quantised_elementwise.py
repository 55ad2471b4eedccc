"""Cases of elementwise functions of bytes that stand for real numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ...layers.quantised_elementwise import FUNCTIONS
from ...net.net import TensorSpec
from .. import Case, Shape, case


def _of(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(dtype, shape)


#: Shapes of two operands.
_PAIRS: list[tuple[Shape, Shape]] = [
    ((2, 9, 5, 7), (2, 9, 5, 7)), ((1, 16, 6, 6), (1, 16, 1, 1)), ((3, 1, 4), (2, 1)), ((70,), ()), ((1,), (1300,)),
    ((2, 3, 700), (700,)), ((5, 1), (1, 6))]


def _tables() -> Iterator[Case]:
    for shape in ((2, 9, 5, 7), (6000,), (), (1, 3), (0, 4)):
        for x, y in (("u8", "u8"), ("i8", "i8"), ("u8", "i8"), ("i8", "u8")):
            yield case("lookup_table", _of(x, *shape), _of(y, 256), constant=(1,))


def _two() -> Iterator[Case]:
    def points(a: str, b: str, y: str) -> list[TensorSpec]:
        return [s for dtype in (a, b, y) for s in (_of("f32"), _of(dtype))]
    words = ("", "", "positive", "", "positive", "", "positive")
    known = (2, 3, 4, 5, 6, 7)
    for a, b in _PAIRS:
        yield case("quantised_binary", _of("u8", *a), _of("u8", *b), *points("u8", "u8", "u8"), function="add", values=words,
                   constant=known)
        yield case("quantised_binary", _of("i8", *a), _of("u8", *b), *points("i8", "u8", "i8"), function="mul", values=words,
                   constant=known)
    for function in FUNCTIONS:
        yield case("quantised_binary", _of("u8", 2, 9, 5, 7), _of("i8", 9, 1, 7), *points("u8", "i8", "u8"), function=function,
                   values=words)
    yield case("quantised_binary", _of("u8", 3, 0), _of("u8", 3, 1), *points("u8", "u8", "u8"), function="add", values=words)


CASES = [*_tables(), *_two()]
