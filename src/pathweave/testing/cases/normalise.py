"""Cases of normalisation by statistics of some axes, of swish, and of soft maxima along inner axes."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Shape, case

_AFFINE: list[tuple[Shape, Shape, Attrs]] = [
    ((3, 48), (48,), {}), ((2, 7, 33), (33,), {"epsilon": 1e-6}), ((1, 5, 5, 16), (16,), {}), ((5, 1), (1,), {}),
    ((2, 16, 3, 3), (16, 3, 3), {"axis": 1}), ((2, 4, 6), (4, 6), {"axis": -2}), ((2, 4, 6), (1,), {}), ((40,), (40,), {}),
    ((2, 4, 6), (4, 1), {"axis": 1}), ((2, 24, 5, 3), (24, 1, 1), {"axes": (1,)}), ((2, 16, 3, 5), (16, 1, 1), {"axes": (1,)}),
    ((1, 3, 9, 17), (3, 1, 1), {"axes": (1,)}), ((2, 70, 131), (70, 1), {"axes": (1,)}),
    ((2, 5, 3, 4), (5, 1, 4), {"axes": (1,)}),
    ((2, 5, 3, 4), (4,), {"axes": (0, 2)}), ((300, 64), (64,), {})]
_GROUPS: list[tuple[Shape, int]] = [
    ((2, 6, 5, 7), 3), ((1, 32, 7, 7), 4), ((1, 20, 9, 3), 2), ((3, 16, 3, 3), 16), ((1, 8, 4, 4), 1), ((2, 12, 9), 4),
    ((4, 24), 3), ((1, 6, 2, 3, 4), 2), ((2, 48, 17, 11), 8)]

CASES = [
    *(case("rms_norm", x, s, constant=(1,), **attrs) for x, s, attrs in _AFFINE),
    *(case("layer_norm", x, s, s, constant=(1, 2), **attrs) for x, s, attrs in (_AFFINE[3], *_AFFINE[6:])),
    case("rms_norm", (4, 65)), case("rms_norm", (4, 65), (65,), (65,)), case("rms_norm", (3, 40), None, (40,), constant=(2,)),
    case("rms_norm", (4, 65), (65,), constant=(1,), epilogue="add+silu"),
    case("layer_norm", (4, 65)), case("layer_norm", (4, 65), (65,), (65,)), case("layer_norm", (2, 24, 3, 5), axes=(1,)),
    case("layer_norm", (4, 65), (65,), (65,), constant=(1, 2), epilogue="gelu:0.0"),
    case("layer_norm", (2, 24, 3, 5), (24, 1, 1), (24, 1, 1), constant=(1, 2), axes=(1,), epilogue="add+relu"),
    case("layer_norm", (1, 3, 64, 100), axis=1), case("rms_norm", (1, 3, 64, 100), axis=1),
    case("layer_norm", (2, 40000), (40000,), (40000,), constant=(1, 2)),
    *(case("group_norm", x, (x[1],), (x[1],), constant=(1, 2), groups=g) for x, g in _GROUPS),
    case("group_norm", (2, 12, 5, 5), groups=4), case("group_norm", (2, 12, 5, 5), (12,), (12,), groups=4),
    *(case("group_norm", (2, 32, 6, 7), (32,), (32,), constant=(1, 2), groups=8, epilogue=e)
      for e in ("silu", "relu", "add", "add+relu")),
    case("group_norm", (1, 32, 40, 40), (32,), (32,), constant=(1, 2), groups=2),
    *(case("instance_norm", x, (x[1],), (x[1],), constant=(1, 2), epilogue=e)
      for x in ((2, 24, 9, 5), (1, 48, 30, 31)) for e in ("", "relu", "add")),
    case("group_norm", (3, 48, 1, 1), (48,), (48,), groups=3),
    case("instance_norm", (2, 16, 3, 3), (16,), (16,)), case("instance_norm", (1, 3, 200, 260), (3,), (3,), constant=(1, 2)),
    *(case("mean_variance_norm", x, axes=a) for x, a in
      (((2, 6, 5, 7), (0, 2, 3)), ((2, 6, 5, 7), (2, 3)), ((2, 16, 5, 7), (1, 2, 3)), ((3, 33), (1,)), ((3, 33), (0,)),
       ((1, 16, 5, 7), (0, 2, 3)), ((2, 3, 4, 5), (1, 3)), ((2, 20, 5, 7), (1,)))),
    *(case("lp_norm", x, axis=a, p=p) for p in (1, 2)
      for x, a in (((4, 33), -1), ((4, 33), 0), ((2, 24, 5, 3), 1), ((2, 16, 5, 9), 1), ((2, 3, 5), 1), ((70,), 0),
                    ((2, 16, 5, 3), 2), ((1, 5, 7, 20), 3))),
    case("lp_norm", (4, 33), least=8.0), case("lp_norm", (2, 16, 5, 3), axis=1, p=1, least=2.0),
    *(case(kind, TensorSpec("f64", (2, 6, 5)), *[TensorSpec("f64", s)] * n, **attrs) for kind, s, n, attrs in (
        ("layer_norm", (5,), 2, {}), ("rms_norm", (6, 1), 1, {"axes": (1,)}), ("group_norm", (6,), 2, {"groups": 2}),
        ("instance_norm", (6,), 2, {}), ("mean_variance_norm", (), 0, {"axes": (0, 2)}), ("lp_norm", (), 0, {"axis": 1}),
        ("lp_norm", (), 0, {"p": 1}), ("softmax", (), 0, {"axis": 1}), ("softmax", (), 0, {}),
        ("log_softmax", (), 0, {"axis": 0}), ("hardmax", (), 0, {"axis": 1}))),
    case("batch_norm", (2, 5, 4, 3), *[(5,)] * 4, values=("", "", "", "", "positive")),
    case("batch_norm", (2, 16, 4), *[(16,)] * 4, values=("", "", "", "", "positive"), epilogue="relu"),
    case("batch_norm", (3, 16, 2, 2), *[(16,)] * 4, values=("", "", "", "", "positive")),
    case("batch_norm", *[TensorSpec("f64", s) for s in ((2, 5, 4), *[(5,)] * 4)], constant=(1, 2, 3, 4),
         values=("", "", "", "", "positive")),
    case("lrn", TensorSpec("f64", (6, 6, 5, 1)), size=3), case("lrn", (2, 40, 9, 13), size=5, alpha=0.01),
    *(case("lrn", x, size=n, alpha=0.02) for x, n in (((2, 6, 33), 3), ((1, 5, 3, 4, 6), 5), ((3, 7), 5))),
    *(case(kind, x, axis=a) for kind in ("softmax", "log_softmax", "hardmax")
      for x, a in (((2, 70, 131), 1), ((1, 16, 19, 21), 1), ((3, 24, 4, 5), 2), ((2, 3, 4, 5, 6), 3))),
    *(case(kind, (3, 2 * 16 + 16 + 5), axis=-1, values=("wide",)) for kind in ("softmax", "log_softmax")),
    case("softmax", (2, 21, 9, 10), axis=1, values=("wide",)), case("hardmax", (2, 9, 6), axis=1, values=("ties",)),
    *(case("swish", x, alpha=a) for x in ((1, 16, 7, 7), (4, 33)) for a in (1.702, 1.0)),
    case("swish", (1, 24, 7, 7), values=("wide",), alpha=1.702), case("madd", (3, 17), (17,), (17,), constant=(1, 2),
                                                                      epilogue="swish:1.702"),
]
