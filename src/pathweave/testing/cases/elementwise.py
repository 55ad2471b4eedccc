"""Cases of functions of two elements, prelu, identity and cast."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Shape, case

#: Shapes that broadcast, as residual blocks, squeeze-excite and scalars meet them.
PAIRS = [
    ((1, 16, 7, 7), (1, 16, 7, 7)), ((1, 24, 7, 7), (1, 24, 1, 1)), ((3, 17, 5, 6), (3, 17, 1, 1)),
    ((4, 16, 3, 3), (1, 16, 1, 1)), ((1, 40, 5, 5), (40, 1, 1)), ((1, 3, 9, 9), (1,)), ((1, 16, 7, 7), ()),
    ((1, 1, 6, 6), (1, 16, 6, 6)), ((1, 16, 1, 1), (1, 16, 7, 7)), ((1, 16, 6, 8), (8,)), ((1, 16, 6, 8), (6, 1)),
    ((3, 1, 4, 1), (1, 5, 1, 7)), ((1, 64, 1, 1), (1, 64, 1, 1)), ((4, 1000), (1000,)), ((5, 7), (5, 1)),
    ((33,), (33,)),
    ((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (3, 1)), ((2, 3, 2, 2, 3), (3, 1, 1, 3)), ((), ()), ((), (1, 16, 3, 3)),
]
_BOTH = ("add", "sub", "mul", "div", "maximum", "minimum")


def _number(dtype: str, *shapes: Shape) -> list[TensorSpec]:
    return [TensorSpec(dtype, s) for s in shapes]


CASES = [
    *(case(kind, a, b, values=("", "positive" if kind == "div" else "")) for kind in ("add", "mul", "sub", "div")
      for a, b in PAIRS),
    *(case(kind, *PAIRS[i]) for kind in ("maximum", "minimum") for i in (0, 1, 5, 11, 13)),
    # an image among values of another rank: in the order of rows, or the same in every layout
    *(case(kind, *pair) for kind in ("add", "mul") for pair in (
        ((1, 4, 3, 3), (2, 1, 1, 1, 1)), ((2, 3, 1, 1), (3, 1, 1, 1, 1)), ((5, 3), (2, 4, 5, 3)), ((3, 1, 5), (2, 1, 4, 5)))),
    case("add", (1, 4, 3, 3), (2, 1, 1, 1, 1), constant=(1,), epilogue="relu"),
    *(case(kind, *PAIRS[i], constant=(1,), values=("", "positive" if kind == "div" else "")) for kind in _BOTH
      for i in (0, 1, 4, 5, 6)),
    *(case(kind, *PAIRS[i], constant=(0,), values=("", "positive" if kind == "div" else "")) for kind in _BOTH
      for i in (8, 20)),
    *(case("add", *PAIRS[i], epilogue=e) for i in (0, 1) for e in ("relu", "clip:0.0:6.0", "hard_swish")),
    *(case("mul", *PAIRS[i], epilogue=e) for i in (0, 1) for e in ("relu", "add", "add+relu")),
    case("add", (1, 64, 28, 28), (1, 64, 28, 28)), case("mul", (2, 72, 14, 14), (2, 72, 1, 1)),
    *(case(kind, (1, 60, 5, 7), (1, 60, 1, 1)) for kind in ("add", "sub", "mul")),
    *(case("pow", a, b, values=("positive", "normal")) for a, b in (PAIRS[0], PAIRS[1], PAIRS[6], PAIRS[13])),
    case("pow", (1, 16, 5, 5), TensorSpec("i64", ()), values=("normal", "nonzero"), constant=(1,)),
    case("pow", TensorSpec("i32", (4, 5)), TensorSpec("i32", (4, 5)), values=("nonzero", "ties")),
    *(case("mod", a, b, fmod=1, values=("wide", "positive")) for a, b in (PAIRS[0], PAIRS[1], PAIRS[13])),
    *(case("mod", *_number(t, (3, 7), (7,)), fmod=f, values=("integral", "nonzero"))
      for t in ("i32", "i64") for f in (0, 1)),
    case("mod", *_number("u8", (3, 7), (3, 7)), values=("integral", "nonzero")),
    *(case(kind, *_number(t, (3, 5, 7), (5, 1)), values=("integral", "nonzero"))
      for kind in ("add", "sub", "mul", "div", "maximum", "minimum") for t in ("i32", "i64")),
    case("div", *_number("u8", (3, 7), (3, 7)), values=("integral", "nonzero")),
    *(case(kind, *PAIRS[i], values=("ties", "ties"))
      for kind in ("equal", "less", "greater", "less_equal", "greater_equal") for i in (0, 1, 13)),
    *(case(kind, *_number("i64", (3, 7), (7,)), values=("ties", "ties"))
      for kind in ("equal", "less", "greater", "less_equal", "greater_equal")),
    case("equal", *_number("bool", (3, 7), (3, 7))),
    *(case(kind, *_number("bool", (2, 3, 5), shape)) for kind in ("logical_and", "logical_or", "logical_xor")
      for shape in ((2, 3, 5), (5,))),
    *(case("prelu", x, s, constant=(1,)) for x, s in (
        ((1, 16, 7, 7), (16, 1, 1)), ((3, 24, 5, 5), (24, 1, 1)), ((1, 17, 4, 4), (1,)), ((1, 16, 6, 6), (1, 16, 6, 6)),
        ((4, 33), (33,)), ((1, 3, 8, 8), (3, 1, 1)))),
    case("prelu", (1, 16, 7, 7), (16, 1, 1), constant=(1,), epilogue="add"),
    *(case("identity", x) for x in ((1, 16, 7, 7), (4, 10), ())),
    case("identity", (1, 16, 7, 7), epilogue="relu"), case("identity", (1, 16, 7, 7), epilogue="add"),
    *(case("cast", TensorSpec(a, (2, 16, 3, 5)), dtype=b, values=("wide",))
      for a, b in (("f32", "i32"), ("f32", "i64"), ("i64", "f32"), ("u8", "f32"))),
    *(case("cast", TensorSpec(a, (3, 16, 5)), dtype=b, values=("wide",)) for a, b in (
        ("f32", "i32"), ("f32", "i64"), ("f32", "f16"), ("f32", "bool"), ("i64", "f32"), ("i64", "i32"), ("u8", "f32"),
        ("bool", "f32"), ("f64", "f32"), ("f32", "f32"), ("i32", "bool"), ("f16", "f32"), ("f16", "i32"), ("i64", "f16"),
        ("f32", "bf16"), ("f16", "bool"))),
    *(case("cast", TensorSpec(a, shape), dtype=b, through=through, values=(values,))
      for a, through, b in (("f32", "f16", "f32"), ("f32", "bf16", "f32"), ("i64", "f16", "f32"), ("f16", "bf16", "f32"))
      for shape in ((2, 16, 3, 5), (3, 1500)) for values in ("wide", "special")),
    *(case("cast", TensorSpec("bf16", (3, 16, 5)), dtype=b, source="bf16") for b in ("f32", "bool")),
]
