"""Cases of attention and of what decoders keep."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Case, Given, Shape, case


def _i64(*shape: int) -> TensorSpec:
    return TensorSpec("i64", shape)


def _bool(*shape: int) -> TensorSpec:
    return TensorSpec("bool", shape)


#: (batch, heads, queries, size, key heads, keys, size of values)
_SIZES = [(1, 1, 1, 1, 1, 1, 1), (1, 2, 7, 8, 2, 9, 8), (2, 3, 5, 16, 3, 5, 24), (1, 4, 33, 64, 4, 70, 64),
          (1, 2, 50, 32, 2, 300, 40), (2, 4, 1, 64, 4, 37, 64), (1, 6, 1, 80, 2, 600, 80), (1, 8, 2, 17, 2, 19, 15),
          (1, 4, 13, 20, 1, 13, 20), (3, 2, 3, 4, 1, 0, 4)]


def _shapes(b: int, h: int, s: int, d: int, g: int, t: int, e: int, inside: tuple[int, ...] = (0, 0, 0)) -> list[Given]:
    shapes: list[Shape] = [(b, h, s, d), (b, g, t, d), (b, g, t, e)]
    return [(x[0], x[2], x[1], x[3]) if swap else x for x, swap in zip(shapes, inside)]


def _masked(size: int) -> list[Case]:
    b, h, s, d, g, t, e = _SIZES[size]
    x = _shapes(b, h, s, d, g, t, e)
    masks: list[Given] = [(s, t), (b, 1, s, t), (1, h, 1, t), (t,), (h, s, t), (b, h, s, max(1, t - 3)), _bool(s, t),
                          _bool(b, 1, 1, t), _bool(t - 2), _bool(1, h, s, t)]
    return [case("attention", *x, m) for m in masks]


_OPTIONS: list[Attrs] = [
    {"causal": 1}, {"causal": 1, "bottom": 1}, {"softcap": 2.0}, {"scale": 0.3, "causal": 1, "softcap": 5.0}, {"left": 2},
    {"left": 3, "right": 1, "bottom": 1}, {"causal": 1, "left": 4}, {"right": 0}]

#: Options beside the lengths that keys have in each batch.
_WITH_LENGTHS: list[Attrs] = [{}, {"causal": 1}, {"causal": 1, "bottom": 1}, {"left": 2, "bottom": 1}]

CASES = [
    *(case("attention", *_shapes(*size)) for size in _SIZES),
    *(case("attention", *_shapes(*size), **attrs) for size in (_SIZES[i] for i in (1, 4, 6, 7)) for attrs in _OPTIONS),
    *(c for i in (1, 4, 6, 7) for c in _masked(i)),
    *(case("attention", *_shapes(*_SIZES[2], inside), inside=(*inside, y))
      for inside, y in (((1, 1, 1), 1), ((1, 0, 0), 1), ((0, 1, 0), 0), ((0, 0, 1), 1))),
    *(case("attention", *_shapes(*_SIZES[i], (1, 1, 1)), inside=(1, 1, 1, 1), causal=1) for i in (4, 6)),
    *(case("attention", *_shapes(*_SIZES[i]), None, _i64(_SIZES[i][0]), values=("", "", "", w), **attrs)
      for i, w in ((2, "ties"), (2, "index:6"), (5, "index:38"), (4, "index:300"))
      for attrs in _WITH_LENGTHS),
    *(case("attention", *_shapes(*_SIZES[i]), None, None, _i64(n), values=("", "", "", "", w), causal=1, left=5)
      for i, n, w in ((2, 1, "ties"), (2, 2, "index:5"), (6, 1, "index:600"), (4, 1, "index:200"))),
    *(case("attention", *_shapes(*_SIZES[i]), None, None, None, (_SIZES[i][1],), causal=1) for i in (1, 4, 6)),
    *(case("attention", *_shapes(*_SIZES[1]), (_SIZES[1][2], _SIZES[1][5]), scores=scores, softcap=3.0)
      for scores in ("product", "softcap", "masked", "softmax")),
    case("attention", *_shapes(*_SIZES[4]), (50, 300), _i64(1), _i64(1), (2,), values=("", "", "", "index:300", "index:200"),
         causal=1, left=150, softcap=4.0),
    *(case("attention", *(TensorSpec(t, s) for s in ((1, 2, 4, 8), (1, 2, 6, 8), (1, 2, 6, 8)))) for t in ("f16", "f64")),
    case("attention", *_shapes(1, 2, 9, 16, 2, 40, 16), constant=(1, 2)),
    case("attention", *_shapes(1, 2, 9, 16, 2, 40, 16), (9, 40), constant=(3,)),
    *(case("attention", *_shapes(*_SIZES[i]), (_SIZES[i][2], _SIZES[i][5]), guard=guard) for guard in ("nan", "none")
      for i in (1, 4, 6)),
    *(case("attention", *_shapes(*_SIZES[i]), m, padded=0, guard=guard) for guard in ("empty", "none") for i in (1, 4, 6)
      for m in ((_SIZES[i][2], 1), _bool(1, _SIZES[i][1], 1, 1), _bool(_SIZES[i][2], _SIZES[i][5]))),
    *(case("attention", *_shapes(*_SIZES[i]), _bool(_SIZES[i][0], 1, _SIZES[i][2], 1), guard=guard)
      for guard in ("nan", "none") for i in (2, 6)),

    *(case("rotary_embedding", x, (x[0], x[2], r), (x[0], x[2], r), interleaved=i)
      for x, r in (((2, 3, 5, 8), 4), ((1, 2, 7, 70), 32), ((1, 4, 1, 64), 32), ((1, 1, 3, 6), 2)) for i in (0, 1)),
    *(case("rotary_embedding", (2, 5, 3, 36), (9, 16), (9, 16), _i64(*p), inside=1, interleaved=i,
           values=("", "", "", f"index:{9 if len(p) == 2 else 5}")) for p in ((2, 5), (1,)) for i in (0, 1)),
    case("rotary_embedding", (1, 2, 4, 8), (6, 4), (6, 4), TensorSpec("i32", (1, 4)), values=("", "", "", "index:6")),
    *(case("rotary_embedding", *(TensorSpec(t, s) for s in ((1, 2, 4, 8), (1, 4, 4), (1, 4, 4)))) for t in ("f16", "f64")),

    *(case("cache_append", (2, 3, 6, 5), (2, 3, 2, 5), _i64(2), values=("", "", "index:6"), length=n) for n in (1, 8)),
    case("cache_append", (2, 3, 6, 5), (2, 4, 3, 5), TensorSpec("i32", (2,)), values=("", "", "index:7"), length=6, inside=1),
    case("cache_append", TensorSpec("f16", (1, 2, 6, 16)), TensorSpec("f16", (1, 2, 1, 16)), _i64(1),
         values=("", "", "index:7"), length=7),
    case("cache_append", (1, 2, 0, 4), (1, 2, 3, 4), _i64(1), values=("", "", "index:4"), length=3),

    *(case("linear_attention", (b, t, h * d), (b, t, g * d), (b, t, g * e), *more,
           values=("", "scaled:8", "", "", "unit", "unit"), heads=h, kv_heads=g)
      for b, t, h, g, d, e in ((1, 1, 1, 1, 1, 1), (2, 5, 4, 2, 8, 12), (1, 9, 2, 2, 33, 40), (1, 1, 4, 1, 64, 64))
      for more in ([], [(b, g * d, e)], [None, (b, t, g)], [(b, g * d, e), (b, t, g * d)], [None, None, (b, t, g)],
                   [(b, g * d, e), (b, t, g), (b, t, 1)])),
    case("linear_attention", (1, 3, 8), (1, 3, 8), (1, 3, 8), heads=2, kv_heads=2, scale=0.7),

    *(case("causal_conv", (b, c, n), (c, 1, k), *more)
      for b, c, n, k in ((1, 1, 1, 1), (2, 5, 9, 4), (1, 20, 40, 3), (1, 3, 2, 4), (2, 16, 1, 4))
      for more in ([], [(c,)], [None, (b, c, k - 1)], [(c,), (b, c, k - 1)])),
    case("causal_conv", (1, 8, 20), (8, 1, 4), (8,), constant=(1, 2)),
]
