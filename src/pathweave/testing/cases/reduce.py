"""Cases of reductions."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case

OPS = ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp")
_AXES = [((1, 16, 7, 7), (2, 3)), ((3, 17, 4, 5), (1,)), ((2, 5, 9), (2,)), ((2, 5, 9), (0, 2)), ((4, 33), (1,)),
         ((4, 33), (0,)), ((2, 3, 4), (0, 1, 2)), ((1, 24, 1, 1), (2, 3)), ((37,), (0,))]

CASES = [
    *(case("reduce", x, op=op, axes=axes, keepdims=keep,
           values=("positive" if op in ("prod", "log_sum") else "normal",))
      for op in OPS for i, (x, axes) in enumerate(_AXES if op in ("sum", "mean", "max") else _AXES[:4])
      for keep in ((0, 1) if i < 2 else (1 - i % 2,))),
    *(case("reduce", (1, 16, 7, 7), op=op, axes=()) for op in ("sum", "max")),
    *(case("reduce", (1, 24, 7, 7), op="mean", axes=(2, 3), epilogue=e) for e in ("relu", "hard_swish")),
    case("reduce", (2, 16, 7, 7), op="sum", axes=(-1,)), case("reduce", (2, 3, 40, 40), op="mean", axes=(2, 3)),
    # to an image, and from one
    *(case("reduce", x, op="mean", axes=axes, keepdims=0) for x, axes in (
        ((1, 2, 4, 3, 3), (1,)), ((2, 3, 5, 1, 1), (0,)), ((2, 3, 1, 5, 4), (4,)), ((3, 5, 4, 1), (1,)), ((2, 1, 6, 7), (3,)))),
    *(case("reduce", TensorSpec(t, (3, 5, 4)), op=op, axes=(1,), values=("integral",)) for t in ("i32", "i64")
      for op in ("sum", "mean", "max", "min", "l1", "sum_square")),
    case("reduce", TensorSpec("i64", (3, 4)), op="prod", axes=(1,), values=("nonzero",)),
]
