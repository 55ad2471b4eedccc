"""Cases of resize2."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Image, case

_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_SHAPES: list[tuple[Image, Attrs]] = [
    ((1, 16, 5, 6), {"scale": (2.0, 2.0)}), ((1, 3, 7, 7), {"size": (14, 11)}), ((3, 17, 8, 8), {"scale": (0.5, 0.5)}),
    ((1, 24, 4, 5), {"size": (9, 3)})]

CASES = [
    *(case("resize2", x, mode="nearest", coordinates="asymmetric", rounding="floor", **how)
      for x, how in (_SHAPES[1], _SHAPES[3])),
    *(case("resize2", x, mode="nearest", coordinates=c, rounding=r, **how)
      for c in _COORDINATES[:3] for r in _ROUNDINGS for x, how in (_SHAPES[0], _SHAPES[2])),
    *(case("resize2", x, mode=m, coordinates=c, **how) for m in ("bilinear", "cubic") for c in _COORDINATES
      for x, how in _SHAPES),
    *(case("resize2", x, mode="bilinear", **how) for x, how in (
        ((1, 16, 1, 1), {"size": (4, 5)}), ((1, 16, 6, 6), {"size": (1, 1)}), ((4, 40, 3, 3), {"scale": (3.0, 1.0)}),
        ((1, 1, 28, 28), {"size": (32, 32)}), ((1, 64, 7, 7), {"scale": (2.0, 2.0)}),
        ((1, 16, 5, 5), {"size": (5, 5)}))),
    case("resize2", (1, 16, 6, 6), mode="bilinear", coordinates="pytorch_half_pixel", size=(1, 4)),
    case("resize2", (1, 16, 6, 6), mode="bilinear", coordinates="align_corners", size=(1, 4)),
    case("resize2", (1, 16, 6, 6), mode="cubic", cubic_a=-0.5, scale=(1.5, 1.5)),
    case("resize2", (1, 3, 5, 5), mode="bilinear", scale=(1.7, 2.3)),
    *(case("resize2", (2, c, 6, 7), mode=m, size=(9, 11)) for c in (5, 8, 11, 21, 33, 80, 200)
      for m in ("nearest", "bilinear")),
    case("resize2", (1, 1, 2, 2), mode="bilinear", size=(3, 3)),
    case("resize2", (1, 2, 1, 1), mode="bilinear", size=(1, 3)),
    case("resize2", (1, 16, 7, 7), mode="nearest", coordinates="asymmetric", rounding="floor", scale=(2.0, 2.0),
         epilogue="relu"),
    case("resize2", (1, 16, 7, 7), mode="bilinear", scale=(2.0, 2.0), epilogue="add"),
    case("resize2", TensorSpec("u8", (1, 3, 6, 6)), mode="nearest", coordinates="asymmetric", rounding="floor",
         scale=(2.0, 2.0)),
]
