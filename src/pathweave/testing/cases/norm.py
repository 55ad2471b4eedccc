"""Cases of normalisation and per-channel affine maps."""

from __future__ import annotations

from .. import Attrs, Shape, case

_SHAPES = [(1, 1, 7, 7), (1, 3, 5, 6), (1, 16, 7, 7), (3, 24, 4, 4), (1, 17, 1, 1), (4, 40, 3, 3), (1, 64, 14, 14)]
_LAYER_NORM: list[tuple[Shape, Shape, Attrs]] = [
    ((3, 48), (48,), {}), ((2, 7, 33), (33,), {}), ((1, 5, 5, 16), (16,), {"epsilon": 1e-6}),
    ((2, 16, 3, 3), (16, 3, 3), {"axis": 1}), ((2, 4, 6), (4, 6), {"axis": -2})]
_LRN: list[tuple[Shape, int, Attrs]] = [
    ((1, 16, 7, 7), 5, {}), ((1, 24, 5, 5), 5, {"alpha": 0.5, "beta": 0.75, "bias": 2.0}), ((3, 3, 4, 4), 3, {"alpha": 1.0}),
    ((8, 8, 3, 3), 4, {"alpha": 1.0, "beta": 0.5}), ((1, 1, 5, 5), 3, {"alpha": 1.0}), ((1, 4, 5, 5), 9, {"alpha": 1.0})]

CASES = [
    *(case("batch_norm", x, *[(x[1],)] * 4, constant=(1, 2, 3, 4), values=("", "positive", "", "", "positive"))
      for x in (*_SHAPES, (4, 33), (2, 5, 9))),
    case("batch_norm", (1, 16, 7, 7), *[(16,)] * 4, constant=(1, 2, 3, 4), epsilon=1e-3, epilogue="relu",
         values=("", "positive", "", "", "positive")),
    case("batch_norm", (1, 16, 7, 7), *[(16,)] * 4, constant=(1, 2, 3, 4), epilogue="add+relu",
         values=("", "positive", "", "", "positive")),
    *(case("madd", x, (x[1],), (x[1],), constant=(1, 2)) for x in (*_SHAPES, (4, 33), (2, 5, 9))),
    case("madd", (1, 16, 7, 7), (), (), constant=(1, 2)), case("madd", (1, 16, 7, 7), (16,), (), constant=(1, 2)),
    case("madd", (7,), (), (), constant=(1, 2)), case("madd", (3, 24, 5, 5), (), (24,), constant=(1, 2)),
    *(case("madd", (1, 24, 7, 7), (24,), (24,), constant=(1, 2), epilogue=e)
      for e in ("relu", "clip:0.0:6.0", "hard_swish", "add", "add+relu")),
    *(case("instance_norm", x, (x[1],), (x[1],), constant=(1, 2)) for x in (*_SHAPES[:4], (2, 5, 9))),
    case("instance_norm", (1, 16, 7, 7), (16,), (16,), constant=(1, 2), epsilon=1e-3, epilogue="relu"),
    *(case("layer_norm", x, s, s, constant=(1, 2), **attrs) for x, s, attrs in _LAYER_NORM),
    case("layer_norm", (3, 48), (48,), constant=(1,)),
    *(case("lrn", x, size=size, **attrs) for x, size, attrs in _LRN),
]
