"""Cases of the kinds that write at indices, cumulate along an axis, and select."""

from __future__ import annotations

from collections.abc import Iterator

from ...net.net import TensorSpec
from .. import Attrs, Case, Shape, case
from .element_types import MOVED, NUMBERS

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def _i64(*shape: int) -> TensorSpec:
    return TensorSpec("i64", shape)


#: Data, indices, axis; indices that occur once, as `none` asks for, in the first list.
_PLACES: list[tuple[Shape, Shape, int]] = [((3, 12), (3, 5), 1), ((2, 4, 9), (2, 3, 9), -1), ((40,), (17,), 0)]
_ELEMENTS: list[tuple[Shape, Shape, int]] = [
    ((7, 5), (4, 5), 0), ((7, 5), (9, 3), 0), ((3, 4, 5, 6), (2, 4, 9, 6), 2), ((3, 4, 5), (2, 3, 4), 1), ((9,), (30,), 0),
    ((4, 3, 40), (6, 2, 40), -3)]
#: Data, indices.
_VECTORS: list[tuple[Shape, Shape]] = [((6, 5, 4), (9, 1)), ((4, 5, 3), (3, 7, 2)), ((5, 6), (12, 2)), ((8,), (20, 1)),
                                       ((3, 700), (2, 1)), ((40, 33), (300, 1))]

#: Cache, update, attributes.
_CACHES: list[tuple[Shape, Shape, Attrs]] = [
    ((2, 3, 8, 5), (2, 3, 3, 5), {}), ((2, 3, 8, 5), (2, 3, 1, 5), {"mode": "circular"}),
    ((3, 9, 4), (3, 5, 4), {"mode": "circular"}), ((2, 4, 70), (2, 4, 30), {"axis": 2}),
    ((2, 4, 7), (2, 4, 7), {"axis": 1, "mode": "circular"})]


def _scatters() -> Iterator[Case]:
    for x, i, a in _PLACES:
        for dtype in (*MOVED, "f32", "i8"):
            yield case("scatter_elements", TensorSpec(dtype, x), _i64(*i), TensorSpec(dtype, i), axis=a,
                       values=("", f"places:{x[a]}"))
        yield case("scatter_elements", x, TensorSpec("i32", i), i, axis=a, values=("", f"places:{x[a]}"))
    for reduction in _REDUCTIONS[1:]:
        for x, i, a in _ELEMENTS:
            yield case("scatter_elements", x, _i64(*i), i, axis=a, reduction=reduction, values=("", f"index:{x[a]}"))
        word = "special" if reduction in ("add", "mul") else "ends:inf,-inf"
        yield case("scatter_nd", (5, 9), _i64(4, 1), (4, 9), reduction=reduction, values=(word, "index:5", word))
        for dtype in NUMBERS:
            x, i, a = _ELEMENTS[0]
            words = ("integral" if dtype != "f16" else "", f"index:{x[a]}", "integral" if dtype != "f16" else "positive")
            yield case("scatter_elements", TensorSpec(dtype, x), TensorSpec("i32", i), TensorSpec(dtype, i), axis=a,
                       reduction=reduction, values=words)
            yield case("scatter_nd", TensorSpec(dtype, (4, 5, 3)), _i64(11, 2), TensorSpec(dtype, (11, 3)), reduction=reduction,
                       values=(words[0], "index:4", words[2]))
        for x, i in _VECTORS:
            yield case("scatter_nd", x, _i64(*i), (*i[:-1], *x[i[-1]:]), reduction=reduction,
                       values=("", f"index:{min(x[:i[-1]])}"))
    for dtype in (*MOVED, "f32", "i32"):
        yield case("scatter_nd", TensorSpec(dtype, (12, 5, 3)), _i64(1, 1), TensorSpec(dtype, (1, 5, 3)),
                   values=("", "index:12"))
        yield case("scatter_nd", TensorSpec(dtype, (4, 9, 6)), _i64(3, 2), TensorSpec(dtype, (3, 6)),
                   values=("", "numbers:0,8,-1,3,2,-9"))
    yield case("scatter_nd", (2, 3), _i64(0, 2), (0,))
    yield case("scatter_nd", (30, 50), _i64(4, 1), (4, 50), values=("", "numbers:29,-30,3,-3"), constant=(1,))
    for cache, update, attrs in _CACHES:
        word = f"index:{50}" if attrs.get("mode") == "circular" else f"numbers:{','.join('310'[:cache[0]])}"
        for dtype in ("f32", "i16", "f64", "bool"):
            specs = TensorSpec(dtype, cache), TensorSpec(dtype, update)
            if word.startswith("index") or update[attrs.get("axis", -2)] + 3 <= cache[attrs.get("axis", -2)]:
                yield case("tensor_scatter", *specs, _i64(cache[0]), values=("", "", word), **attrs)
            yield case("tensor_scatter", *specs, **attrs)


_CUMULATED: list[tuple[Shape, int]] = [((37,), 0), ((5, 40), 1), ((40, 5), 0), ((3, 7, 20), 1), ((2, 3, 4, 9), -1), ((4, 1), 1),
                                       ((2, 50, 150), 1)]


def _cumulated() -> Iterator[Case]:
    for kind in ("cumsum", "cumprod"):
        word = "" if kind == "cumsum" else "positive"
        for x, axis in _CUMULATED:
            yield case(kind, x, axis=axis, values=(word,))
            yield case(kind, x, axis=axis, reverse=1, values=(word,))
        for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1)):
            attrs: Attrs = {"exclusive": exclusive, "reverse": reverse}
            yield case(kind, (3, 6, 5), axis=1, values=("unit",), **attrs)
            yield case(kind, _i64(4, 30), axis=1, values=("ties",), **attrs)
            yield case(kind, TensorSpec("f64", (9, 3)), axis=-2, values=(word,), **attrs)
        yield case(kind, (3, 6, 5), _i64(), values=("", "numbers:-2"))
        yield case(kind, (3, 9), TensorSpec("i32", (1,)), values=("", "numbers:1"), exclusive=1)
        yield case(kind, (0, 3), axis=0)
        yield case(kind, (2, 20), axis=1, values=("special",))
        for dtype in NUMBERS:
            if dtype != "f64":
                yield case(kind, TensorSpec(dtype, (3, 11)), axis=1, values=("unit" if dtype == "f16" else "ties",))
    yield case("cumsum", (20000,), axis=0, values=("positive",))
    yield case("cumsum", TensorSpec("i32", (2, 17000)), axis=1, reverse=1, values=("integral",))
    yield case("cumsum", (17000, 3), axis=0, exclusive=1, values=("positive",))


def _selected() -> Iterator[Case]:
    for indices, depth, axis in (((7,), 5, -1), ((2, 3), 4, 1), ((2, 3), 6, 0), ((3, 40), 33, 1), ((1,), 1, 0)):
        for index, values in (("i64", "f32"), ("i32", "i64"), ("f32", "bool"), ("u8", "i16"), ("i8", "f64")):
            word = f"numbers:{','.join(str(v) for v in _numbers(indices, depth, index == 'u8'))}"
            yield case("onehot", TensorSpec(index, indices), None, TensorSpec(values, (2,)), depth=depth, axis=axis,
                       values=(word, "", "numbers:0,1" if values != "bool" else ""))
    yield case("onehot", _i64(2, 3), _i64(), (2,), values=("index:7", "numbers:5"))
    yield case("onehot", _i64(4), _i64(1), (2,), values=("index:9", "numbers:7", "integral"), axis=0)
    for x in ((4, 5), (2, 3, 6, 4), (5, 1), (3, 3), (2, 40, 37)):
        for k in (0, 2, -1, 9, -9):
            for upper in (0, 1):
                yield case("trilu", x, k=k, upper=upper)
    for dtype in (*MOVED, "u8", "i32"):
        yield case("trilu", TensorSpec(dtype, (3, 5, 4)), k=1, upper=1)
        yield case("trilu", TensorSpec(dtype, (5, 4)), _i64(), upper=0, values=("", "numbers:-1"))
    for dtype in ("", "f32", "f64", "f16", "i8", "i64", "bool", "u16"):
        for k in (0, 2, -1, -9):
            yield case("eye_like", TensorSpec("i32", (4, 6)) if dtype == "f32" else (4, 6), k=k, dtype=dtype)
    yield case("eye_like", TensorSpec("i32", (70, 33)), k=-3)
    for x, batch in (((5, 3), 1), ((3, 5), 0), ((6, 2, 4), 1), ((2, 7, 3, 2), 0), ((30, 20, 40), 1)):
        for dtype in ("f32", "i16", "f64", "bool"):
            word = f"numbers:{','.join(str(1 + 3 * b % x[1 - batch]) for b in range(x[batch]))}"
            yield case("reverse_sequence", TensorSpec(dtype, x), _i64(x[batch]), batch_axis=batch, time_axis=1 - batch,
                       values=("", word))


def _numbers(shape: Shape, depth: int, unsigned: bool) -> list[int]:
    """Indices inside and outside of a depth."""
    count = 1
    for d in shape:
        count *= d
    least = 0 if unsigned else -depth - 1
    return [least + (5 * i + 3) % (2 * depth + 3) for i in range(count)]


def _found() -> Iterator[Case]:
    for x, axis in (((60,), ()), ((4, 9), ()), ((9, 2), (0,)), ((2, 8, 2), (1,)), ((2, 3, 9), (-1,)), ((), ()), ((0,), ()),
                    ((1, 5000), ())):
        for ordered in (0, 1):
            yield case("unique", x, axis=axis, sorted=ordered, values=("ties",))
            yield case("unique", _i64(*x), axis=axis, sorted=ordered, values=("integral",))
    for dtype in ("bool", *NUMBERS):
        yield case("unique", TensorSpec(dtype, (50,)), values=("ties",))
        yield case("unique", TensorSpec(dtype, (30, 1)), axis=(0,), sorted=0, values=("ties",))
    for boxes, classes, how in (
            ((1, 30, 4), 2, {"max_boxes": 5, "iou": 0.3}), ((2, 50, 4), 3, {"max_boxes": 50, "iou": 0.1, "score": 0.2}),
            ((2, 40, 4), 1, {"max_boxes": 10, "iou": 0.5, "center_point_box": 1}), ((1, 20, 4), 1, {"iou": 0.5}),
            ((1, 300, 4), 1, {"max_boxes": 2**40, "iou": 0.4, "score": 0.0}), ((1, 1, 4), 1, {"max_boxes": 3}),
            ((1, 25, 4), 2, {"max_boxes": 30, "iou": 1.0}), ((2, 40, 4), 2, {"max_boxes": 9, "iou": 0.0, "score": 5.0})):
        for words in (("positive", "unit"), ("unit", "unit"), ("positive", "ties")):
            yield case("non_max_suppression", boxes, (boxes[0], classes, boxes[1]), values=words, **how)
    yield case("non_max_suppression", (2, 40, 4), (2, 2, 40), _i64(), (1,), (),
               values=("positive", "unit", "numbers:7", "numbers:0.5", "numbers:0.1"))
    yield case("non_max_suppression", (1, 40, 4), (1, 2, 40), _i64(1), values=("positive", "unit", "numbers:-1"))


CASES = [*_scatters(), *_cumulated(), *_selected(), *_found()]
