"""Cases of the image kinds."""

from __future__ import annotations

from typing import Any

from ...net.net import TensorSpec
from .. import Case, Shape, case


def _source(image: Shape, c: int, h: int, w: int, **attrs: Any) -> Case:
    return case("source", TensorSpec("u8", image), shape=(1, c, h, w), **attrs)


CASES = [
    _source((8, 8, 3), 3, 8, 8), _source((11, 17, 3), 3, 8, 6), _source((5, 4, 3), 3, 12, 13, format="bgr"),
    _source((9, 7), 1, 8, 8, format="gray"), _source((9, 7), 3, 8, 8), _source((10, 12, 4), 3, 6, 6),
    _source((10, 12, 3), 1, 6, 6, format="gray"), _source((9, 7, 1), 1, 5, 5, format="gray"),
    _source((11, 17, 3), 3, 8, 6, resize_mode="nearest"), _source((5, 4, 3), 3, 12, 13, resize_mode="nearest"),
    _source((12, 20, 3), 3, 10, 10, keep_ar=1), _source((20, 12, 3), 3, 10, 10, keep_ar=1, padding_color=(114.0,)),
    _source((20, 12, 3), 3, 9, 16, keep_ar=1, padding_color=(1, 2, 3), format="bgr"),
    _source((3, 200, 3), 3, 8, 8, keep_ar=1, resize_mode="nearest"),
    case("permute", (1, 8, 9, 3), order=(0, 3, 1, 2)), case("permute", (1, 3, 8, 9), perm=(0, 2, 3, 1)),
    case("sink", (1, 10)), case("sink", (1, 3, 4, 4)),
]
