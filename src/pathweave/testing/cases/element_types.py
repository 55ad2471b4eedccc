"""Cases of layers that move elements of any type, and of layers of integers, truth values and floats other than f32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...net.net import TensorSpec
from .. import Case, case

#: One type per size of an element.
MOVED = ("bool", "i16", "f64")
INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
NUMBERS = ("f16", "f64", *INTEGERS)
_FAR = 2**63 - 1


def _specs(dtype: str, *shapes: tuple[int, ...]) -> list[TensorSpec]:
    return [TensorSpec(dtype, s) for s in shapes]


#: (kind, shape of each input, attributes): elements of any type.
_MOVES: list[tuple[str, Sequence[tuple[int, ...]], Mapping[str, Any]]] = [
    ("reshape", [(1, 3, 4, 5)], {"shape": (3, -1)}), ("reshape", [(2, 6)], {"shape": (1, 3, 2, 2)}),
    ("reshape", [(1, 8)], {"shape": (1, 8, 1, 1)}), ("squeeze", [(2, 1, 3, 1)], {"axes": (1, 3)}),
    ("unsqueeze", [(3, 4)], {"axes": (0, 3)}), ("unsqueeze", [(1, 6)], {"axes": (2, 3)}), ("identity", [(2, 3, 4, 5)], {}),
    *(("transpose", [x], {"perm": p}) for x, p in (
        ((33, 65), (1, 0)), ((2, 3, 4, 5), (0, 2, 3, 1)), ((1, 1, 9, 10), (0, 3, 1, 2)), ((4, 5, 6), (2, 0, 1)),
        ((2, 3, 40), (1, 0, 2)), ((7,), (0,)), ((3, 0, 2), (2, 1, 0)), ((1, 4, 1, 6), (0, 2, 3, 1)),
        ((2, 3, 1, 4), (0, 1, 3, 2)))),
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
        ((2, 0), {"pads": (1, 1, 0, 1)}))),
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
    for dtype in ("bool", "i32", "f64"):
        yield case("pad", *_specs(dtype, (1, 3, 6, 6)), pads=(0, 1, -1, 2, 0, 0, 3, -2), value=1.0)
    yield case("identity", *_specs("i64", ()))
    for dtype in MOVED:
        yield case("identity", *_specs(dtype, (2, 3)), constant=(0,))
    yield case("identity", (2, 0, 3, 3))
    yield case("concat", (0, 3), (0, 3), axis=0)
    for kind, shapes, attrs in _MOVES:  # of a constant: an attribute of sizes may be known in the run alone
        if kind in ("expand", "tile", "slice", "pad", "split"):
            for dtype in ("f32", *MOVED):
                yield case(kind, *_specs(dtype, *shapes), **attrs, constant=(0,))
    yield case("concat", *_specs("i64", (1, 2, 3, 5), (1, 3, 3, 5)), axis=1, constant=(1,), values=("integral", "integral"))


#: Shapes of two operands.
_PAIRS = [((2, 5, 7), (5, 1)), ((2, 3, 4, 5), (3, 1, 1)), ((33,), ()), ((1,), (2, 3))]
_ARITHMETIC = ("add", "sub", "mul", "div", "minimum", "maximum", "mod")
_COMPARISONS = ("equal", "less", "less_equal", "greater", "greater_equal")


def _pairs() -> Iterator[Case]:
    for kind in _ARITHMETIC:
        for dtype in NUMBERS:
            yield case(kind, *_specs(dtype, *_PAIRS[0]), values=("integral", "nonzero"))
        for pair in _PAIRS[1:]:
            yield case(kind, *_specs("i32", *pair), values=("integral", "nonzero"))
        yield case(kind, *_specs("i64", (7, 3), (3,)), constant=(1,), values=("integral", "nonzero"))
        yield case(kind, *_specs("f32", (0, 3), (3,)))
    for dtype in ("f16", "f32", "f64", "i8", "u32", "i64"):
        for whole in (0, 1):
            yield case("mod", *_specs(dtype, (4, 9), (9,)), fmod=whole, values=("wide", "nonzero"), name=f"mod {dtype} {whole}")
    for kind in _COMPARISONS:
        for dtype in ("f32", *NUMBERS):
            yield case(kind, *_specs(dtype, *_PAIRS[0]), values=("ties", "ties"))
        yield case(kind, *_specs("f32", (9, 9), (9, 1)), values=("special", "special"))
        yield case(kind, *_specs("i32", *_PAIRS[1]), values=("ties", "ties"))
    for kind in ("logical_and", "logical_or", "logical_xor"):
        for pair in _PAIRS:
            yield case(kind, *_specs("bool", *pair))
    for base, exponent in (("i32", "i64"), ("u8", "u8"), ("f64", "f64"), ("f32", "i32"), ("f16", "f32"), ("i64", "f32")):
        yield case("pow", TensorSpec(base, (3, 5)), TensorSpec(exponent, (5,)), values=("nonzero", "ties"))
    for dtype in ("f16", "f64"):
        yield case("prelu", *_specs(dtype, (2, 3, 5), (3, 1)))
        yield case("prelu", *_specs(dtype, (2, 3, 4, 5), (3, 1, 1)))
        for kind in ("minimum", "maximum"):
            yield case(kind, *_specs(dtype, (40,), (40,)), values=("special", "special"))


_FLOATING = ("sigmoid", "hard_swish", "silu", "tanh", "softplus", "softsign", "mish", "exp", "floor", "ceil", "round", "erf",
             "sin", "cos", "selu", "celu", "elu", "leaky_relu", "hard_sigmoid", "thresholded_relu")


def _functions() -> Iterator[Case]:
    for kind in ("abs", "sign", "relu", "neg", "clip"):
        for dtype in NUMBERS:
            if kind != "neg" or not dtype.startswith("u"):
                attrs: dict[str, Any] = {"min": 4.0 if dtype[0] == "u" else -20.5, "max": 30.0} if kind == "clip" else {}
                yield case(kind, *_specs(dtype, (5, 11)), values=("integral",), **attrs)
        yield case(kind, *_specs("i32", (2, 3, 4, 5)), values=("integral",))
    for kind in _FLOATING:
        for dtype in ("f16", "f64"):
            yield case(kind, *_specs(dtype, (2, 19)), values=("unit" if kind == "exp" else "wide",))
        yield case(kind, *_specs("f64", (2, 3, 1, 5)))
    for kind in ("log", "sqrt", "reciprocal"):
        for dtype in ("f16", "f64"):
            yield case(kind, *_specs(dtype, (2, 3, 1, 5)), values=("positive",))
    for approximate in (0, 1):
        yield case("gelu", *_specs("f64", (2, 3, 1, 5)), approximate=approximate)
    for dtype in ("f16", "f32", "f64"):
        yield case("is_nan", *_specs(dtype, (2, 3, 4, 5)), values=("special",))
    yield case("logical_not", *_specs("bool", (2, 3, 4, 5)))
    yield case("relu", (0, 4))


def _picks() -> Iterator[Case]:
    for dtype in (*MOVED, "f32", "bf16"):
        for index in ("i32", "i64"):
            yield case("gather", TensorSpec(dtype, (4, 5, 3)), TensorSpec(index, (2, 3)), axis=1, values=("", "index:5"))
    yield case("gather", *_specs("i64", (6, 2, 3, 4)), TensorSpec("i32", (3,)), axis=-2, values=("integral", "index:3"))
    yield case("gather", *_specs("i64", (5, 4)), TensorSpec("i64", (7,)), axis=0, constant=(0,), values=("integral", "index:5"))
    yield case("gather", (5, 0), TensorSpec("i64", (2,)), axis=0, values=("", "index:5"))
    for dtype in (*MOVED, "i32"):
        for c, a, b in (((3, 5), (3, 5), (3, 5)), ((2, 3, 4, 5), (2, 3, 4, 5), ()), ((3, 1), (5,), (3, 5)), ((4,), (), (4,)),
                        ((1, 1, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5))):
            yield case("where", TensorSpec("bool", c), *_specs(dtype, a, b))
    for dtype in NUMBERS:
        for kind in ("argmax", "argmin"):
            yield case(kind, *_specs(dtype, (3, 5, 4)), axis=1, values=("ties",))
            yield case(kind, *_specs(dtype, (3, 40)), axis=1, select_last=1, keepdims=0, values=("ties",))
        yield case("topk", *_specs(dtype, (4, 15)), k=4, values=("ties",))
    for kind in ("argmax", "argmin"):
        yield case(kind, (2, 3, 300), axis=1)
    for largest in (0, 1):
        yield case("topk", (5, 20, 3), k=7, axis=1, largest=largest, values=("special",))
    yield case("topk", *_specs("u64", (3, 4)), k=0)
    yield case("shape", *_specs("bool", (2, 3, 5, 7)), start=1)
    for dtype in ("u8", "f16", "f64", "u64"):
        yield case("constant_of_shape", shape=(3, 4), value=5, dtype=dtype)
        yield case("range", start=3, limit=40, delta=5, dtype=dtype)


def _casts() -> Iterator[Case]:
    every = ("bool", "f32", "bf16", *NUMBERS)
    for a in every:
        for b in every:
            source: dict[str, Any] = {"source": "bf16"} if a == "bf16" else {}
            # Floats that lie in the range of every type.
            values = "positive" if b.startswith("u") else "wide" if a in ("f16", "f32", "f64") else ""
            yield case("cast", *_specs(a, (5, 13)), dtype=b, values=(values,), **source)
    for through in ("f16", "bf16"):
        for to in ("f64", "i32", "bool"):
            yield case("cast", *_specs("f64", (3, 1100)), dtype=to, through=through, values=("wide",))
    for to in ("f16", "bf16", "f32", "bool"):
        yield case("cast", *_specs("f64", (90,)), dtype=to, values=("special",))
    yield case("cast", *_specs("i64", (0, 3)), dtype="f32")


_AXES = [((3, 5, 4), (1,)), ((3, 5, 4), (0, 2)), ((2, 70), (0,)), ((4, 33), (1,)), ((2, 3, 4, 5), (1, 3))]


def _reductions() -> Iterator[Case]:
    for op in ("sum", "mean", "max", "min", "prod", "l1", "sum_square", "l2", "log_sum", "log_sum_exp"):
        floating = op in ("l2", "log_sum", "log_sum_exp")
        # What is beyond a small integer is its wrapped remainder here, and something else in ONNX, which has few of them.
        few = ("f16", "f64", "i32", "i64") if op in ("mean", "sum_square") else NUMBERS
        for dtype in ("f16", "f64") if floating else few:
            for shape, axes in _AXES if dtype == "f64" or (dtype == "i64" and op != "prod") else _AXES[:2]:
                whole = "nonzero" if op == "prod" else "integral"
                word = "positive" if dtype in ("f16", "f64") else whole
                yield case("reduce", *_specs(dtype, shape), op=op, axes=axes, values=(word,),
                           name=f"reduce {dtype} {shape} {op} {axes} of types")
        for shape, axes in (((2, 5, 7, 3), (0, 2)), ((3, 0, 2), (1,)), ((6, 2, 5), (0, 2))):
            if not (op == "mean" and 0 in shape):
                yield case("reduce", shape, op=op, axes=axes, keepdims=0, values=("positive",))
        yield case("reduce", *_specs("f64", (3, 4, 2, 5)), op=op, axes=(1,), keepdims=0, values=("positive",))
    for op in ("max", "min"):
        yield case("reduce", *_specs("bool", (3, 5)), op=op, axes=(1,))


CASES = [*_moves(), *_casts(), *_reductions(), *_pairs(), *_functions(), *_picks()]
