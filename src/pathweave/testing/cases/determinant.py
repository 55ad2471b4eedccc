"""Cases of determinants."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case

CASES = [
    *(case("det", shape) for shape in ((1, 1), (2, 2), (5, 3, 3), (2, 3, 4, 4), (7, 7), (2, 16, 16))),
    case("det", TensorSpec("f64", (3, 5, 5))),
]
