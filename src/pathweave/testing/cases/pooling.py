"""Cases of the pooling kinds."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Image, case

_WINDOWS: list[tuple[Image, Attrs]] = [
    ((1, 1, 7, 7), {"kernel": (2, 2), "stride": (2, 2)}),
    ((1, 3, 8, 8), {"kernel": (2, 2), "stride": (2, 2)}),
    ((1, 16, 7, 7), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}),
    ((1, 24, 9, 8), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1), "ceil": 1}),
    ((1, 64, 14, 14), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}),
    ((3, 16, 8, 8), {"kernel": (3, 3), "stride": (2, 2), "ceil": 1}),
    ((4, 17, 6, 6), {"kernel": (2, 2), "stride": (2, 2)}),
    ((1, 16, 7, 7), {"kernel": (3, 3), "pad": (1, 1, 1, 1)}),
    ((1, 16, 7, 9), {"kernel": (3, 2), "stride": (1, 2), "pad": (0, 1, 2, 0)}),
    ((1, 16, 7, 7), {"kernel": (7, 7)}),
    ((1, 40, 1, 1), {"kernel": (1, 1)}),
    ((1, 16, 2, 2), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}),
    ((1, 16, 12, 12), {"kernel": (5, 5), "stride": (3, 3), "pad": (2, 2, 2, 2)}),
    ((1, 16, 6, 6), {"kernel": (1, 1), "stride": (2, 2)}),
    ((1, 16, 11, 5), {"kernel": (3, 1), "stride": (2, 1), "pad": (1, 0, 1, 0)}),
    ((1, 16, 6, 6), {"kernel": (2, 2), "stride": (3, 3), "ceil": 1}),
    ((1, 16, 5, 5), {"kernel": (3, 3), "stride": (3, 3), "pad": (1, 1, 1, 1), "ceil": 1}),
    ((1, 1000, 3, 3), {"kernel": (2, 2)}),
]
_DILATED: list[tuple[Image, Attrs]] = [
    ((1, 16, 9, 9), {"kernel": (3, 3), "dilation": (2, 2), "pad": (2, 2, 2, 2)}),
    ((1, 16, 9, 9), {"kernel": (2, 3), "dilation": (3, 1), "stride": (2, 2)}),
]
_KEPT: list[Attrs] = [{}, {"keepdims": 0}]

CASES = [
    *(case("max_pool2", x, **attrs) for x, attrs in _WINDOWS + _DILATED),
    *(case("max_pool2", (1, 24, 7, 7), kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1), epilogue=e)
      for e in ("relu", "clip:0.0:6.0", "add", "add+relu")),
    case("max_pool2", TensorSpec("u8", (1, 16, 7, 7)), kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1)),
    case("max_pool2", TensorSpec("i8", (1, 16, 7, 7)), kernel=(2, 2), stride=(2, 2), values=("integral",)),
    *(case("average_pool2", x, **attrs) for x, attrs in _WINDOWS + _DILATED),
    *(case("average_pool2", x, count_pad=1, **attrs) for x, attrs in _WINDOWS if "pad" in attrs or "ceil" in attrs),
    *(case("average_pool2", (1, 24, 7, 7), kernel=(3, 3), pad=(1, 1, 1, 1), epilogue=e)
      for e in ("relu", "hard_swish", "add", "add+relu")),
    *(case("lp_pool2", x, **attrs) for x, attrs in _WINDOWS[:3] + _WINDOWS[7:9]),
    case("lp_pool2", (1, 16, 7, 7), kernel=(2, 2), p=1), case("lp_pool2", (1, 16, 7, 7), kernel=(3, 3), p=3),
    case("lp_pool2", (1, 16, 9, 9), kernel=(3, 3), dilation=(2, 2)),
    *(case(kind, x, **keep) for kind in ("global_average_pool", "global_max_pool")
      for x in ((1, 1, 7, 7), (1, 3, 5, 6), (1, 16, 7, 7), (1, 24, 1, 1), (3, 17, 4, 4), (1, 64, 14, 14),
                (4, 40, 7, 7), (1, 1000, 2, 2), (1, 16, 1, 9))
      for keep in _KEPT),
    *(case("global_average_pool", (1, 24, 7, 7), epilogue=e) for e in ("relu", "hard_sigmoid:0.1666667:0.5", "add")),
]
