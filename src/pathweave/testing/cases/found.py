"""Cases of layers whose sizes are contents: numbers that other layers take as attributes are inputs here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...net.net import TensorSpec
from .. import Case, Shape, case

_TYPES = ("f32", "bool", "i16", "f64")


def _list(numbers: Sequence[int], dtype: str = "i64") -> tuple[TensorSpec, str]:
    return TensorSpec(dtype, (len(numbers),)), f"numbers:{','.join(map(str, numbers))}"


def _found(kind: str, x: tuple[int, ...], *lists: Sequence[int] | None, index: str = "i64", **attrs: Any) -> Iterator[Case]:
    given = [None if numbers is None else _list(numbers, index) for numbers in lists]
    for dtype in _TYPES:
        yield case(kind, TensorSpec(dtype, x), *(g and g[0] for g in given), values=("", *(g[1] if g else "" for g in given)),
                   **attrs)


def _of_space() -> Iterator[Case]:
    """Sizes, scales and widths that are values."""
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"):
            yield case("resample", (1, 2, 9, 7), _list((1, 2, 5, 90))[0], values=("", "numbers:1,2,5,90"), mode=mode,
                       coordinates=coordinates)
        yield case("resample", (2, 3, 5), _list((5, 11), "i32")[0], values=("", "numbers:5,11"), axes=(2, 0), mode=mode)
        yield case("resample", (2, 30, 40), None, TensorSpec("f32", (3,)), values=("", "", "numbers:1.0,1.5,0.75"), mode=mode)
    yield case("pad", (5, 6), _list((0, 1, 2, 3))[0], TensorSpec("f32", ()), values=("", "numbers:0,1,2,3", "numbers:0.5"))


def _cases() -> Iterator[Case]:
    x: Shape
    shape: Shape
    axes: Shape | None
    for x, shape, zero in (((2, 3, 4), (4, -1), 0), ((2, 3, 4), (0, 0, 2, 2), 0), ((5,), (1, 5, 1), 0), ((6,), (2, 3), 1),
                           ((40, 300), (-1, 8), 0), ((4,), (2, -1, 2), 1)):
        yield from _found("reshape", x, shape, allowzero=zero)
    for x, shape in (((3, 1), (2, 3, 4)), ((1, 5), (5,)), ((2, 1, 3), (1, 4, 1)), ((), (2, 3)), ((1, 9000), (3, 1))):
        yield from _found("expand", x, shape)
    for x, repeats in (((2, 3), (3, 2)), ((1, 3, 2, 2), (2, 1, 2, 3)), ((5,), (1,)), ((100, 60), (2, 2))):
        yield from _found("tile", x, repeats)
    for x, pads, axes, attrs in (
            ((3, 4), (1, 0, 0, 2), None, {}), ((2, 5, 6), (-1, 2, 0, 3), (1, -1), {"value": 1.0}),
            ((7,), (2, 3), None, {"mode": "reflect"}), ((4, 5), (1, 2, 3, 1), None, {"mode": "wrap"}),
            ((3, 60, 70), (0, 2, 1, 0, 3, 9), None, {"mode": "edge"}), ((90, 100), (3, -4, -2, 8), (1, 0), {})):
        yield from _found("pad", x, pads, None, axes, **attrs)
    yield from _of_space()
    for index in ("i64", "i32"):
        for x, starts, ends, axes, steps in (
                ((7,), (2,), (6,), None, None), ((4, 9), (-1, 0), (-5, 2**31 - 1), (0, 1), (-1, 2)),
                ((3, 8), (-3,), (90,), (-1,), None), ((5, 4), (9,), (-9,), (0,), (-2,)),
                ((2, 3, 10), (1, 2), (2, 9), (0, 2), (1, 3)), ((60, 200), (0, 1), (60, 190), None, None)):
            yield from _found("slice", x, starts, ends, axes, steps, index=index)
    yield case("slice", (4, 9), _list((1,))[0], values=("", "numbers:1"), ends=(7,), axes=(1,))
    for x, k, axis, largest in (((4, 30), 3, -1, 1), ((3, 20, 5), 7, 1, 0), ((2, 900), 2, 1, 1), ((9,), 9, 0, 1)):
        for dtype in ("f32", "i64", "u8"):
            yield case("topk", TensorSpec(dtype, x), TensorSpec("i64", (1,)), axis=axis, largest=largest,
                       values=("ties" if dtype != "f32" else "", f"numbers:{k}"))
    for dtype, value in (("f32", 1.5), ("i64", 7), ("bool", 1), ("u8", 3)):
        for shape in ((2, 3), (4,), (1, 16, 4, 4), (100, 101)):
            spec, word = _list(shape)
            yield case("constant_of_shape", spec, value=value, dtype=dtype, values=(word,))
    for dtype, numbers in (("i64", (0, 10, 1)), ("i64", (10, 0, -3)), ("i32", (-3, 4, 2)), ("f32", (0.0, 2.0, 0.25)),
                           ("f64", (1.0, -1.0, -0.5)), ("i16", (3, 30, 4)), ("i64", (0, 20000, 2)),
                           ("f32", (0.0, 9000.0, 1.0))):
        yield case("range", *[TensorSpec(dtype, ())] * 3, values=tuple(f"numbers:{v}" for v in numbers))
    yield case("range", None, TensorSpec("i64", ()), values=("", "numbers:9"), start=2, delta=3)
    for dtype in ("f32", "bool", "f16"):  # enough elements for many parts
        for shape in ((100, 130), (3, 5, 1100), (20000,)):
            yield case("nonzero", TensorSpec(dtype, shape), values=("ties",))
        yield case("compress", TensorSpec(dtype, (130, 90)), TensorSpec("bool", (130,)), axis=(0,))
        yield case("compress", TensorSpec(dtype, (130, 90)), TensorSpec("bool", (11000,)))
        yield case("compress", TensorSpec(dtype, (4, 50, 70)), TensorSpec("bool", (50,)), axis=(1,))
    for k in (9, 700, 30000):
        yield case("topk", (1, 40000), k=k)
        yield case("topk", TensorSpec("i32", (2, 33000)), TensorSpec("i64", (1,)), largest=0,
                   values=("integral", f"numbers:{k}"))
    for shape, axis in (((3, 2600), 1), ((2, 40, 300), 1), ((2, 1500, 3), 1)):
        for dtype in ("f32", "f16", "f64"):
            yield case("hardmax", TensorSpec(dtype, shape), axis=axis, values=("ties",))
        for kind in ("argmax", "argmin"):
            for last in (0, 1):
                yield case(kind, shape, axis=axis, select_last=last, values=("ends:inf,-inf",))
                yield case(kind, shape, axis=axis, select_last=last)
                yield case(kind, TensorSpec("u8", shape), axis=axis, select_last=last, values=("ties",))


CASES = list(_cases())
